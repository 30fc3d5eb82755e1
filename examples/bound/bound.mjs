// What a client with DPoP needs, from oauth4webapi and dpop.
import * as dpop from "dpop";
import * as oauth from "oauth4webapi";

const insecure = { [oauth.allowInsecureRequests]: true }; // the servers here are on loopback, without TLS

export class Client {
  #as;
  #client = { client_id: "chat-app" };
  #nonce;

  // The key pair never leaves the client.
  static async create(issuer, server) {
    const c = new Client();
    c.server = server;
    const discovery = await oauth.discoveryRequest(new URL(issuer), insecure);
    c.#as = await oauth.processDiscoveryResponse(new URL(issuer), discovery);
    c.keys = await oauth.generateKeyPair("ES256");
    c.handle = oauth.DPoP(c.#client, c.keys);
    return c;
  }

  async token() {
    return this.#withNonce(async () => {
      const response = await oauth.clientCredentialsGrantRequest(this.#as, this.#client,
        oauth.ClientSecretPost("secret-of-chat-app"), { resource: "urn:chat", scope: "chat" },
        { DPoP: this.handle, ...insecure });
      const { access_token, token_type } =
        await oauth.processClientCredentialsResponse(this.#as, this.#client, response);
      if (token_type !== "dpop") throw new Error(`got a token of type ${token_type}`);
      return access_token;
    });
  }

  async request(token, method, path) {
    const response = await this.#withNonce(() => oauth.protectedResourceRequest(
      token, method, new URL(path, this.server), undefined, undefined, { DPoP: this.handle, ...insecure }));
    this.#nonce = response.headers.get("dpop-nonce") ?? this.#nonce;
    return response;
  }

  async ticket(token) {
    return (await (await this.request(token, "POST", "/ticket")).json()).ticket;
  }

  // A proof for the WebSocket has the nonce of a response: a message of the connection has no headers to bring one.
  async proof(token, changes) {
    const { keys, method, url, nonce, ath } = {
      keys: this.keys, method: "GET", url: this.server + "/ws", nonce: this.#nonce, ath: token, ...changes,
    };
    return dpop.generateProof(keys, url, method, nonce, ath);
  }

  // The first proof for a server has no nonce of it. The response brings one, and the handle keeps it.
  async #withNonce(request) {
    try {
      return await request();
    } catch (err) {
      if (!oauth.isDPoPNonceError(err)) throw err;
      return request();
    }
  }
}
