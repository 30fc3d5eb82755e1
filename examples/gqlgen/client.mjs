// node client.mjs ws://127.0.0.1:8080/graphql asks for a token and subscribes with it. Each further line is a new token.
// None is an argument, which everybody on the machine could read.
import { once } from "node:events";
import { createInterface } from "node:readline";
import { createClient } from "graphql-ws";
import WebSocket from "ws";

const input = createInterface({ input: process.stdin });
console.log("token?");
const [token] = await once(input, "line");

const client = createClient({
  url: process.argv[2],
  webSocketImpl: WebSocket, // a browser has its own
  connectionParams: { Authorization: `Bearer ${token}` },
  // 3000: the token has ended, or was refused, and it would be again. Without shouldRetry, graphql-ws tries five times.
  // Whatever else closes the connection (a restart, a lost network) is worth another try. If you can fetch a new token,
  // make connectionParams a function that does, and return true here as long as it succeeds.
  shouldRetry: ({ code }) => code !== undefined && code !== 3000,
});

const run = async (query, variables) => (await client.iterate({ query, variables }).next()).value;

input.on("line", async (token) => {
  const { errors } = await run("mutation ($token: String!) { renew(token: $token) }", { token });
  console.log(errors ? `not renewed: ${errors[0].message}` : "renewed");
});

try {
  for await (const { data } of client.iterate({ query: "subscription { ticks }" })) {
    if (data.ticks === 1) {
      console.log(`I am ${(await run("{ me }")).data.me}`);
    }
    console.log(`tick ${data.ticks}`);
  }
} catch ({ code, reason }) {
  console.log(`over: ${code} ${reason}`);
}
input.close();
