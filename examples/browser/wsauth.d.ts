export function nextAfter(code: number, reason: string): Next;
/**
 * An AuthSocket is a WebSocket that outlives its connections. It starts at once, and ends with close() or by itself
 * (gaveup); then another one has to be made.
 *
 * Its open is not that of the WebSocket, which means little: a refused handshake is completed, too, so that the page
 * can be told why, and a first message is not even sent then. The server's first message is the proof, or else that it
 * has refused nothing for a moment (settle).
 */
export class AuthSocket extends EventTarget {
    /** @param {Options} options */
    constructor(options: Options);
    /** Whether send can be called. */
    get connected(): boolean;
    /**
     * Sends as WebSocket.send does. What is sent before open is not read if the server refuses.
     * @param {Parameters<WebSocket["send"]>[0]} data
     */
    send(data: Parameters<WebSocket["send"]>[0]): void;
    /** Ends it. A last closed follows, and no gaveup. */
    close(): void;
    /**
     * addEventListener, with the types of the events.
     * @template {keyof Events} K
     * @param {K} type
     * @param {(event: Events[K]) => void} listener
     * @param {AddEventListenerOptions} [options]
     */
    on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void, options?: AddEventListenerOptions): this;
    #private;
}
/**
 * What follows a close: connecting again with a new token, connecting again after a while, asking the user to log in
 * again, or nothing.
 */
export type Next = "token" | "wait" | "login" | "end";
export type Options = {
    /**
     * ws:, wss:, http: or https:, or relative to the page
     */
    url: string | URL;
    /**
     * How the token goes to the server
     */
    way: "ticket" | "subprotocol" | "firstMessage" | "cookie" | "query";
    /**
     * Fetches a new token: for the first connection, and
     * when the one before has ended, is about to, or was refused. Nothing: nobody is logged in. An exception: it is
     * called again, later. With way "cookie", or "ticket" where a cookie buys the tickets, it is optional, sets the
     * cookie, and may return nothing
     */
    token?: (() => string | void | Promise<string | void>) | undefined;
    /**
     * Of way "ticket": where to POST for a ticket, before every connection. The answer
     * is {"ticket":"…"}
     */
    tickets?: string | URL | undefined;
    /**
     * Asks the user to log in again, where
     * the last login is worth nothing any more. True: the user has, and the socket goes on. Anything else, or an
     * exception: the socket gives up. Default: it gives up at once
     */
    login?: ((why: Closed) => boolean | void | Promise<boolean | void>) | undefined;
    /**
     * Subprotocols of the application
     */
    protocols?: string[] | undefined;
    /**
     * Seconds before the token's end to send a new one on the open connection, to servers
     * that call wsauth.Renew; at most a third of its life. Default: 0, which has the connection end with its token
     */
    renewAhead?: number | undefined;
    /**
     * Sends the new token, and resolves
     * when it was taken. Default: {"type":"token","access_token":"…"}; the answer's type is "renewed" or "refused"
     */
    renew?: ((socket: AuthSocket, token: string) => void | Promise<void>) | undefined;
    /**
     * Goes before nextAfter
     */
    decide?: ((code: number, reason: string) => Next | undefined) | undefined;
    /**
     * Milliseconds without a refusal after which the connection counts as open, if the server
     * has sent nothing by then. Infinity for servers that always speak first. Default: 500
     */
    settle?: number | undefined;
    /**
     * Milliseconds that the first wait takes at most. It doubles. Default: 1000
     */
    minDelay?: number | undefined;
    /**
     * Milliseconds that every wait takes at most. Default: 30000
     */
    maxDelay?: number | undefined;
    /**
     * Of way "query", default: "access_token"; and of way "ticket", default: "ticket"
     */
    param?: string | undefined;
    /**
     * Of way "subprotocol". Default: "bearer."
     */
    prefix?: string | undefined;
    /**
     * Of way "firstMessage": makes the
     * message that has the token. Default: {"access_token":"…"}
     */
    firstMessage?: ((token: string) => Parameters<WebSocket["send"]>[0]) | undefined;
};
/**
 * The code is 0 where there was no connection, for want of a token or a ticket; error is what token(), login() or the
 * fetch of a ticket threw. delay is in ms, to the next attempt.
 */
export type Closed = {
    code: number;
    reason: string;
    next: Next;
    delay: number;
    error?: unknown;
};
/**
 * expires is the end of the token in ms, Infinity if it is not known.
 */
export type Events = {
    open: CustomEvent<{
        protocol: string;
        expires: number;
    }>;
    message: MessageEvent;
    /**
     * the connection lives on with a new token
     */
    renewed: CustomEvent<{
        expires: number;
    }>;
    closed: CustomEvent<Closed>;
    /**
     * follows the last closed, unless that was the page's wish
     */
    gaveup: CustomEvent<Closed>;
};
