// What somebody gets who has stolen tokens, proofs and tickets: a line for each attempt, and among them the same by the
// client itself, which succeeds.
//
//     node thief.mjs <issuer> <server>
import { once } from "node:events";
import * as dpop from "dpop";
import WebSocket from "ws";
import { Client } from "./bound.mjs";

const [issuer, server] = process.argv.slice(2);
const client = await Client.create(issuer, server);
const token = await client.token();
const another = await client.token();
const fetchNonce = () => client.request(token, "GET", "/me");
await fetchNonce();
const stolen = await dpop.generateKeyPair("ES256"); // the thief's own key

const me = { url: server + "/me" };
const ws = { url: server.replace("http", "ws") + "/ws" };

// code returns the status, and why the token or the proof was refused.
const code = (status, challenge) => [status, /error="(\w+)"/.exec(challenge)?.[1]].filter(Boolean).join(" ");

async function get(scheme, headers) {
  const response = await fetch(me.url, { headers: { authorization: `${scheme} ${token}`, ...headers } });
  return code(response.status, response.headers.get("www-authenticate"));
}

async function connect(path, headers) {
  const socket = new WebSocket(server.replace("http", "ws") + path, { headers });
  const opened = once(socket, "message").then(([greeting]) => ({ socket, result: JSON.parse(greeting).hello }));
  const refused = once(socket, "unexpected-response").then(([, response]) => {
    response.destroy();
    return { result: code(response.statusCode, response.headers["www-authenticate"]) };
  });
  opened.catch(() => {}); // the error after a refusal
  refused.catch(() => {});
  return Promise.race([opened, refused]);
}

async function renew(socket, access_token, proof) {
  socket.send(JSON.stringify({ access_token, dpop: proof }));
  const answer = JSON.parse((await once(socket, "message"))[0]);
  return answer.error ?? "renewed";
}

const say = (what, result) => console.log(`${what}: ${result}`);

const proof = await client.proof(token, me);
say("token and proof", await get("DPoP", { dpop: proof }));
say("the proof again", await get("DPoP", { dpop: proof }));
say("no proof", await get("DPoP"));
say("as a bearer token", await get("Bearer"));
say("as a bearer token, with a proof", await get("Bearer", { dpop: await client.proof(token, me) }));
say("a proof of another key", await get("DPoP", { dpop: await client.proof(token, { ...me, keys: stolen }) }));
say("a proof for another method", await get("DPoP", { dpop: await client.proof(token, { ...me, method: "POST" }) }));
say("a proof for another path", await get("DPoP", { dpop: await client.proof(token) }));
const elsewhere = { url: "https://evil.example/me" };
say("a proof for another server", await get("DPoP", { dpop: await client.proof(token, elsewhere) }));
say("a proof for another token", await get("DPoP", { dpop: await client.proof(another, me) }));
say("a proof for no token", await get("DPoP", { dpop: await client.proof(token, { ...me, ath: undefined }) }));
say("a proof without a nonce", await get("DPoP", { dpop: await client.proof(token, { ...me, nonce: undefined }) }));
const madeUp = { ...me, nonce: "made up" };
say("a proof with a nonce of its own", await get("DPoP", { dpop: await client.proof(token, madeUp) }));

const headers = { authorization: `DPoP ${token}`, dpop: await client.proof(token, ws) };
const { socket, result } = await connect("/ws", headers);
say("a WebSocket with token and proof", result);
say("a WebSocket with the proof again", (await connect("/ws", headers)).result);
const ticket = await client.ticket(token);
say("a WebSocket with a ticket", (await connect(`/ws?ticket=${ticket}`)).result);
say("a WebSocket with the ticket again", (await connect(`/ws?ticket=${ticket}`)).result);

const next = await client.token();
await fetchNonce();
say("a renewal without a proof", await renew(socket, next, ""));
say("a renewal with the proof of another key", await renew(socket, next, await client.proof(next, { keys: stolen })));
const good = await client.proof(next);
say("a renewal with a proof for another token", await renew(socket, next, await client.proof(token)));
say("a renewal", await renew(socket, next, good));
say("a renewal with the proof again", await renew(socket, next, good));
process.exit();
