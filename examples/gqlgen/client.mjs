// node client.mjs ws://127.0.0.1:8080/graphql subscribes with the token in TOKEN, and renews it with NEW_TOKEN if that
// is set. Tokens are not arguments, which everybody on the machine could read.
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const { TOKEN, NEW_TOKEN } = process.env;

const client = createClient({
  url: process.argv[2],
  webSocketImpl: WebSocket, // a browser has its own
  connectionParams: { Authorization: `Bearer ${TOKEN}` },
  // 3000: the token has ended, or was refused, and it would be again. Without shouldRetry, graphql-ws tries five times.
  // Whatever else closes the connection (a restart, a lost network) is worth another try. If you can fetch a new token,
  // make connectionParams a function that does, and return true here as long as it succeeds.
  shouldRetry: ({ code }) => code !== undefined && code !== 3000,
});

const first = async (query, variables) => (await client.iterate({ query, variables }).next()).value;

try {
  for await (const { data } of client.iterate({ query: "subscription { ticks }" })) {
    console.log(`tick ${data.ticks}`);
    if (data.ticks === 1) {
      console.log(`I am ${(await first("{ me }")).data.me}`);
    }
    if (data.ticks === 1 && NEW_TOKEN) {
      const { errors } = await first("mutation ($token: String!) { renew(token: $token) }", { token: NEW_TOKEN });
      console.log(errors ? `not renewed: ${errors[0].message}` : "renewed");
    }
  }
} catch ({ code, reason }) {
  console.log(`over: ${code} ${reason}`);
}
