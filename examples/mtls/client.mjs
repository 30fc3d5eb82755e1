// Makes a request and opens a WebSocket with one token and each certificate, and writes what came of it.
//
//     node client.mjs <url> <directory of the certificates> <token> <certificate | none> …
import { once } from "node:events";
import { readFileSync } from "node:fs";
import https from "node:https";
import WebSocket from "ws";

const [url, dir, token, ...names] = process.argv.slice(2);
const read = file => readFileSync(`${dir}/${file}`);

const options = name => ({
  ca: read("ca.pem"),
  ...(name !== "none" && { cert: read(`${name}.pem`), key: read(`${name}.key`) }),
  headers: { authorization: `Bearer ${token}` },
});

async function get(name) {
  const [response] = await once(https.get(`${url}/me`, { ...options(name), agent: false }), "response");
  response.resume();
  return response.statusCode;
}

async function connect(name) {
  const socket = new WebSocket(`${url.replace("https", "wss")}/ws`, options(name));
  const opened = once(socket, "message").then(([message]) => message);
  const refused = once(socket, "unexpected-response").then(([, response]) => response.statusCode);
  opened.catch(() => {}); // the error after a refusal
  refused.catch(() => {});
  const result = await Promise.race([opened, refused]);
  socket.on("error", () => {});
  socket.terminate();
  return result;
}

for (const name of names) {
  console.log(`${name}: ${await get(name)}, ${await connect(name)}`);
}
process.exit();
