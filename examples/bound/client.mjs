// A client whose tokens are bound to its key.
//
//     node client.mjs <issuer> <server>
//
// It fetches a token, makes a request, opens a WebSocket with a ticket, and renews the connection with a new token.
import { once } from "node:events";
import WebSocket from "ws";
import { Client } from "./bound.mjs";

const [issuer, server] = process.argv.slice(2);
const client = await Client.create(issuer, server);
const token = await client.token();

const { sub } = await (await client.request(token, "GET", "/me")).json();
console.log(`/me: ${sub}`);

const socket = new WebSocket(`${server.replace("http", "ws")}/ws?ticket=${await client.ticket(token)}`);
const read = async () => JSON.parse((await once(socket, "message"))[0]);
const { hello, until } = await read();
console.log(`hello ${hello}`);

const next = await client.token();
await client.request(next, "GET", "/me"); // for a nonce that is fresh, however long the connection was open
socket.send(JSON.stringify({ access_token: next, dpop: await client.proof(next) }));
const renewed = await read();
console.log(renewed.until > until ? "renewed" : JSON.stringify(renewed));

socket.close();
