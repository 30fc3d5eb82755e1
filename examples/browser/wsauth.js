// @ts-check
// wsauth.js opens a WebSocket to a server with wsauth and keeps it open: it brings the token, reads from the close code
// what to do next, and renews the token before it ends. An ES module without dependencies, to be copied:
//
//   import { AuthSocket } from "/wsauth.js";
//   const socket = new AuthSocket({ url: "/ws", way: "ticket", tickets: "/ticket", token: fetchToken });
//   socket.on("message", (event) => console.log(event.data));
//
// The token is kept in memory and goes to the server, nowhere else: into no log, no storage, no error, no address bar.
// (But with way "query" the browser itself writes it to the console, in the URL of a handshake that fails.) The server
// should set CloseOnRefusal. Without it every refusal is 1006, like a server that is down.

/**
 * What follows a close: connecting again with a new token, connecting again after a while, asking the user to log in
 * again, or nothing.
 * @typedef {"token" | "wait" | "login" | "end"} Next
 */

/**
 * @typedef {object} Options
 * @property {string | URL} url ws:, wss:, http: or https:, or relative to the page
 * @property {"ticket" | "subprotocol" | "firstMessage" | "cookie" | "query"} way How the token goes to the server
 * @property {() => string | void | Promise<string | void>} [token] Fetches a new token: for the first connection, and
 *   when the one before has ended, is about to, or was refused. Nothing: nobody is logged in. An exception: it is
 *   called again, later. With way "cookie", or "ticket" where a cookie buys the tickets, it is optional, sets the
 *   cookie, and may return nothing
 * @property {string | URL} [tickets] Of way "ticket": where to POST for a ticket, before every connection. The answer
 *   is {"ticket":"…"}
 * @property {(why: Closed) => boolean | void | Promise<boolean | void>} [login] Asks the user to log in again, where
 *   the last login is worth nothing any more. True: the user has, and the socket goes on. Anything else, or an
 *   exception: the socket gives up. Default: it gives up at once
 * @property {string[]} [protocols] Subprotocols of the application
 * @property {number} [renewAhead] Seconds before the token's end to send a new one on the open connection, to servers
 *   that call wsauth.Renew; at most a third of its life. Default: 0, which has the connection end with its token
 * @property {(socket: AuthSocket, token: string) => void | Promise<void>} [renew] Sends the new token, and resolves
 *   when it was taken. Default: {"type":"token","access_token":"…"}; the answer's type is "renewed" or "refused"
 * @property {(code: number, reason: string) => Next | undefined} [decide] Goes before nextAfter
 * @property {number} [settle] Milliseconds without a refusal after which the connection counts as open, if the server
 *   has sent nothing by then. Infinity for servers that always speak first. Default: 500
 * @property {number} [minDelay] Milliseconds that the first wait takes at most. It doubles. Default: 1000
 * @property {number} [maxDelay] Milliseconds that every wait takes at most. Default: 30000
 * @property {string} [param] Of way "query", default: "access_token"; and of way "ticket", default: "ticket"
 * @property {string} [prefix] Of way "subprotocol". Default: "bearer."
 * @property {(token: string) => Parameters<WebSocket["send"]>[0]} [firstMessage] Of way "firstMessage": makes the
 *   message that has the token. Default: {"access_token":"…"}
 */

/**
 * The code is 0 where there was no connection, for want of a token or a ticket; error is what token(), login() or the
 * fetch of a ticket threw. delay is in ms, to the next attempt.
 * @typedef {{ code: number, reason: string, next: Next, delay: number, error?: unknown }} Closed
 */

/**
 * expires is the end of the token in ms, Infinity if it is not known.
 * @typedef {object} Events
 * @property {CustomEvent<{ protocol: string, expires: number }>} open
 * @property {MessageEvent} message
 * @property {CustomEvent<{ expires: number }>} renewed the connection lives on with a new token
 * @property {CustomEvent<Closed>} closed
 * @property {CustomEvent<Closed>} gaveup follows the last closed, unless that was the page's wish
 */

const LIVED = 5000; // ms: a connection that ends sooner resets neither the waits nor the count of refusals
const REFUSALS = 3; // new tokens in a row that are refused: the next one would be, too
const LONGEST = 2 ** 31 - 1; // ms, that a timer can be set to
const TICKET_TIMEOUT = 10_000; // ms
const WAYS = ["ticket", "subprotocol", "firstMessage", "cookie", "query"];
const JWT = /^[\w-]+\.[\w-]+\.[\w-]+$/; // also what may stand in a URL and in a subprotocol
const TICKET = /^[\w-]+$/;

/**
 * An AuthSocket is a WebSocket that outlives its connections. It starts at once, and ends with close() or by itself
 * (gaveup); then another one has to be made.
 *
 * Its open is not that of the WebSocket, which means little: a refused handshake is completed, too, so that the page
 * can be told why, and a first message is not even sent then. The server's first message is the proof, or else that it
 * has refused nothing for a moment (settle).
 */
export class AuthSocket extends EventTarget {
  #options;
  #url;
  /** @type {WebSocket | null} */ #ws = null;
  #token = "";
  #stale = true; // a new token is needed
  #expires = Infinity;
  /** @type {Promise<void> | null} */ #fetching = null;
  /** @type {(() => void) | null} the next attempt, or the next renewal */ #task = null;
  #due = 0; // when it is to run
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #attempts = 0; // since a connection lived
  #refusals = 0; // likewise
  #over = false;
  #listeners = new AbortController();

  /** @param {Options} options */
  constructor(options) {
    super();
    const { way, token, tickets } = options;
    if (!WAYS.includes(way)) throw new TypeError("no such way");
    if (!token && way !== "cookie" && way !== "ticket") throw new TypeError("token is missing");
    if (!tickets && way === "ticket") throw new TypeError("tickets is missing");
    this.#options = {
      protocols: [], renewAhead: 0, renew: renewByMessage, decide: nextAfter, settle: 500, minDelay: 1000,
      maxDelay: 30_000, param: way === "ticket" ? "ticket" : "access_token", prefix: "bearer.", firstMessage,
      ...options,
    };
    this.#url = new URL(options.url, location.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    this.#url.hash = "";
    const { signal } = this.#listeners;
    // A reason to try again at once, and to do what a timer that slept should have done.
    const wake = () => this.#ws && Date.now() < this.#due || this.#task?.();
    addEventListener("online", wake, { signal });
    document.addEventListener("visibilitychange", () => document.hidden || wake(), { signal });
    queueMicrotask(() => this.#connect()); // the page has its listeners on by then
  }

  /** Whether send can be called. */
  get connected() {
    return this.#ws?.readyState === WebSocket.OPEN;
  }

  /**
   * Sends as WebSocket.send does. What is sent before open is not read if the server refuses.
   * @param {Parameters<WebSocket["send"]>[0]} data
   */
  send(data) {
    if (!this.#ws || !this.connected) throw new DOMException("not connected", "InvalidStateError");
    this.#ws.send(data);
  }

  /** Ends it. A last closed follows, and no gaveup. */
  close() {
    if (this.#over) return;
    this.#end();
    // One that is still connecting is closed when it opens: browsers write the URL of one that is given up, and a token
    // in it, to the console.
    if (this.connected) this.#ws?.close(1000);
    if (!this.#ws) this.#closed(1000, "", "end");
  }

  /**
   * addEventListener, with the types of the events.
   * @template {keyof Events} K
   * @param {K} type
   * @param {(event: Events[K]) => void} listener
   * @param {AddEventListenerOptions} [options]
   */
  on(type, listener, options) {
    this.addEventListener(type, /** @type {EventListener} */ (listener), options);
    return this;
  }

  async #connect() {
    if (this.#over) return;
    const { way, token } = this.#options;
    const fresh = Boolean(token) && (this.#stale || this.#expires - Date.now() < 1000);
    try {
      if (fresh) await this.#fetch();
    } catch (error) {
      this.#failed("token() failed", "wait", error);
      return;
    }
    if (this.#over) return;
    if (way === "ticket") await this.#openByTicket(fresh);
    else if (this.#token || way === "cookie") this.#open(this.#token);
    else this.#failed("no token", "login");
  }

  /** Fetches one token at a time: a connection and a renewal that meet wait for the same. */
  #fetch() {
    const fetchToken = async () => {
      const token = (await this.#options.token?.()) || "";
      if (token && !JWT.test(token)) throw new TypeError("token() did not return a JWT");
      [this.#token, this.#expires, this.#stale] = [token, expiryOf(token), false];
    };
    this.#fetching ??= fetchToken().finally(() => (this.#fetching = null));
    return this.#fetching;
  }

  /**
   * A ticket serves one connection only, so that every attempt needs another one.
   * @param {boolean} fresh whether the token that buys it was fetched for this
   */
  async #openByTicket(fresh) {
    let answer;
    let ticket;
    try {
      answer = await this.#postForTicket();
      if (answer.ok) ({ ticket } = await answer.json());
    } catch (error) {
      this.#failed("no ticket", "wait", error);
      return;
    }
    if (typeof ticket === "string" && TICKET.test(ticket)) this.#open(ticket);
    else this.#failed(`no ticket: ${answer.status}`, this.#nextWithoutTicket(answer.status, fresh));
  }

  /** @type {(status: number, fresh: boolean) => Next} */
  #nextWithoutTicket(status, fresh) {
    // A token that was kept may have been refused for its age. It gets one successor.
    if (status === 401 && this.#options.token && !fresh) return "token";
    if (status === 401 || status === 403) return "login";
    if (status === 408 || status === 429 || status >= 500) return "wait";
    return "end"; // nobody hands out tickets there
  }

  #postForTicket() {
    const token = this.#token;
    return fetch(this.#options.tickets ?? "", {
      method: "POST",
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      credentials: token ? "same-origin" : "include",
      cache: "no-store",
      redirect: "error", // a page to log in at, perhaps: it has no ticket, and should not see the token
      referrerPolicy: "no-referrer",
      signal: AbortSignal.timeout(TICKET_TIMEOUT),
    });
  }

  /** @param {string} secret the token or the ticket; empty for a cookie */
  #open(secret) {
    if (this.#over) return;
    const { way, param, prefix, settle, decide } = this.#options;
    const url = new URL(this.#url);
    let protocols = this.#options.protocols;
    if (way === "query" || way === "ticket") url.searchParams.set(param, secret);
    // The server has to select one of the protocols, and never selects the one with the token.
    if (way === "subprotocol") protocols = [...(protocols.length ? protocols : ["wsauth"]), prefix + secret];
    let ws;
    try {
      ws = new WebSocket(url, protocols);
    } catch { // the error of the browser may have the token in it
      this.#failed("no URL or no protocols for a WebSocket", "end");
      return;
    }
    this.#ws = ws;
    let opened = 0;
    let accepted = false;
    /** @type {ReturnType<typeof setTimeout>} */ let timer;
    const accept = () => {
      clearTimeout(timer);
      if (accepted || this.#over) return;
      accepted = true;
      this.#planRenewal();
      this.#tell("open", { protocol: ws.protocol, expires: this.#expires });
    };
    ws.onopen = () => {
      opened = Date.now();
      if (this.#over) ws.close(1000);
      else if (way === "firstMessage") ws.send(this.#options.firstMessage(secret));
      timer = setTimeout(accept, Math.min(settle, LONGEST));
    };
    ws.onmessage = ({ data }) => {
      accept();
      this.dispatchEvent(new MessageEvent("message", { data }));
    };
    ws.onclose = ({ code, reason }) => {
      clearTimeout(timer);
      this.#ws = null;
      if (opened && Date.now() - opened >= LIVED) this.#attempts = this.#refusals = 0;
      // Three handshakes in a row have failed. It may be the token, on a server without CloseOnRefusal.
      if (!opened && this.#attempts % 3 === 2) this.#stale = true;
      this.#closed(code, reason, decide(code, reason) ?? nextAfter(code, reason));
    };
  }

  /**
   * Goes on where there was no connection. If close was called, that has told already.
   * @type {(reason: string, next: Next, error?: unknown) => void}
   */
  #failed(reason, next, error) {
    if (!this.#over) this.#closed(0, reason, next, error);
  }

  /**
   * Goes on after a connection that has ended. Once the page has called close, it only tells so.
   * @type {(code: number, reason: string, next: Next, error?: unknown) => void}
   */
  #closed(code, reason, next, error) {
    if (this.#over) {
      this.#tell("closed", { code, reason, next: "end", delay: 0, error });
      return;
    }
    next = this.#possible(reason, next);
    const detail = { code, reason, next, delay: 0, error };
    if (next === "token" || next === "wait") {
      detail.delay = this.#pause(next);
      this.#later(detail.delay, () => this.#connect());
    } else if (next === "end") {
      this.#end();
    }
    this.#tell("closed", detail);
    if (next === "end") this.#tell("gaveup", detail);
    if (next === "login") this.#logIn(detail);
  }

  /** @type {(reason: string, next: Next) => Next} what can be done of what should be */
  #possible(reason, next) {
    const { token, login } = this.#options;
    if (next === "token") {
      this.#stale = true;
      if (reason !== "token expired") this.#refusals++; // that one was good
      if (!token) next = "login";
      else if (this.#refusals >= REFUSALS) next = "end";
    }
    return next === "login" && !login ? "end" : next;
  }

  /** @param {Next} next */
  #pause(next) {
    // Full jitter: clients that were cut off together do not come back together.
    const longest = Math.min(this.#options.minDelay * 2 ** this.#attempts, this.#options.maxDelay);
    const delay = next === "wait" || this.#attempts > 0 ? Math.random() * longest : 0;
    this.#attempts++;
    return delay;
  }

  /** @param {Closed} why */
  async #logIn(why) {
    let loggedIn;
    let error = why.error;
    try {
      loggedIn = await this.#options.login?.(why);
    } catch (thrown) {
      error = thrown;
    }
    if (this.#over) return;
    if (loggedIn === true) {
      this.#stale = true;
      this.#attempts = this.#refusals = 0;
      this.#connect();
      return;
    }
    this.#end();
    this.#tell("gaveup", { ...why, next: "end", error });
  }

  #planRenewal() {
    const left = this.#expires - Date.now();
    const ahead = Math.min(this.#options.renewAhead * 1000, left / 3);
    if (ahead > 0) this.#later(Math.max(left - ahead, 1000), () => this.#renew(this.#expires));
  }

  /** @param {number} end of the token that the connection has */
  async #renew(end) {
    const ws = this.#ws;
    try {
      await this.#fetch();
      if (ws !== this.#ws || !this.connected || !this.#token) return;
      await this.#options.renew(this, this.#token);
      if (ws !== this.#ws) return;
      this.#planRenewal();
      this.#tell("renewed", { expires: this.#expires });
    } catch {
      const left = end - Date.now();
      if (ws === this.#ws && left > 1000) this.#later(left / 2, () => this.#renew(end));
    }
  }

  /** @type {(ms: number, run: () => void) => void} */
  #later(ms, run) {
    this.#cancel();
    this.#due = Date.now() + ms;
    this.#task = () => (this.#cancel(), run());
    this.#timer = setTimeout(this.#task, Math.min(ms, LONGEST));
  }

  #cancel() {
    clearTimeout(this.#timer);
    this.#task = null;
  }

  #end() {
    this.#over = true;
    this.#token = "";
    this.#cancel();
    this.#listeners.abort();
  }

  /** @type {(type: keyof Events, detail: object) => void} */
  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** @type {(code: number, reason: string) => Next} */
export function nextAfter(code, reason) {
  // Somebody has ended the login: a new token of the same login would be refused, or should be.
  if (code === 3000 && reason === "token revoked") return "login";
  // Every attempt has a ticket of its own, and the token is not what this one was refused for.
  if (code === 3000 && reason === "invalid_ticket") return "wait";
  // Nothing came from this browser for a while, as from a machine that slept.
  if (code === 3008 && reason === "no answer to a ping") return "wait";
  // Unauthorized: token_required, invalid_token, "token expired". And the first message came too late.
  if (code === 3000 && reason !== "invalid_request" || code === 3008) return "token";
  // The server goes or restarts (1001, 1012), has failed (1011, 1014) or no room (1013), or nothing is known (1006).
  if ([1001, 1006, 1011, 1012, 1013, 1014].includes(code)) return "wait";
  // It is done (1000), forbids it (3003, 1008), has another connection of the same user in this one's place (4001: to
  // come back would replace that one), or has a code of its own: another attempt would end like this one.
  return "end";
}

/** @type {(token: string) => string} */
function firstMessage(token) {
  return JSON.stringify({ access_token: token });
}

/** @type {(socket: AuthSocket, token: string) => Promise<void>} */
function renewByMessage(socket, token) {
  return new Promise((resolve, reject) => {
    const answered = new AbortController();
    socket.on("message", ({ data }) => {
      let type;
      try {
        ({ type } = JSON.parse(data));
      } catch {} // no message of this protocol
      if (type !== "renewed" && type !== "refused") return;
      answered.abort();
      if (type === "renewed") resolve();
      else reject(new Error("refused"));
    }, answered);
    socket.send(JSON.stringify({ type: "token", access_token: token }));
  });
}

/**
 * The end of a JWT in ms. Nothing is verified: this is for timing alone. Infinity where it cannot be known: a new token
 * that seems to have ended tells of a wrong clock.
 * @param {string} token
 */
function expiryOf(token) {
  try {
    const { exp } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    return exp * 1000 > Date.now() ? exp * 1000 : Infinity;
  } catch {
    return Infinity;
  }
}
