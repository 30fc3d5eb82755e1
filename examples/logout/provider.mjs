// An OpenID provider, node-oidc-provider, that signs access tokens as JWTs and sends logout tokens to its client.
//
//     node provider.mjs <port> <backchannel_logout_uri>
//
// Its login believes any name: it is for trying out.
import { Provider } from "oidc-provider";

console.warn = console.info = () => {}; // it says at length that this is for development

const [port, logoutURI] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: "chat-app",
    client_secret: "secret-of-chat-app",
    redirect_uris: ["http://127.0.0.1:9/callback"],
    post_logout_redirect_uris: ["http://127.0.0.1:9/bye"],
    backchannel_logout_uri: logoutURI,
    backchannel_logout_session_required: true,
  }],
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: true },
    // Access tokens for this resource are JWTs, with the audience that wsauth expects.
    resourceIndicators: {
      enabled: true,
      defaultResource: () => "urn:chat",
      getResourceServerInfo: () => ({
        scope: "chat", audience: "urn:chat", accessTokenFormat: "jwt", accessTokenTTL: 600,
        jwt: { sign: { alg: "RS256" } },
      }),
      useGrantedResource: () => true,
    },
  },
  // The session of the access token is the one that logout tokens name. Without this, wsauth could end only all
  // sessions of a user, or none.
  extraTokenClaims: async (ctx, token) => {
    const session = await provider.Session.findByUid(token.sessionUid);
    return { sid: session?.authorizations?.[token.clientId]?.sid };
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  pkce: { required: () => false },
  cookies: { keys: ["for trying out"] },
});

provider.on("backchannel.error", (ctx, err) => console.error("logout token not delivered:", err.message));
provider.on("backchannel.success", () => console.log("logout token delivered"));
provider.on("server_error", (ctx, err) => console.error(err));

provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
