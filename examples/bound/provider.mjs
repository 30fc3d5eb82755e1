// An OAuth server, node-oidc-provider, that binds access tokens to the key of the client's DPoP proof and demands a
// nonce in each proof.
//
//     node provider.mjs <port>
import { randomBytes } from "node:crypto";
import { Provider } from "oidc-provider";

console.warn = console.info = () => {}; // it says at length that this is for development

const [port] = process.argv.slice(2);
let lifetime = 600; // each token expires later than the last, even within one second: a renewal needs that

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{
    client_id: "chat-app",
    client_secret: "secret-of-chat-app",
    grant_types: ["client_credentials"],
    response_types: [],
    redirect_uris: [],
    token_endpoint_auth_method: "client_secret_post",
    dpop_bound_access_tokens: true,
  }],
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        scope: "chat", audience: "urn:chat", accessTokenFormat: "jwt", accessTokenTTL: lifetime++,
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
  cookies: { keys: ["for trying out"] },
});

provider.on("server_error", (ctx, err) => console.error(err));
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
