// node upstream.mjs [PORT] is a server that answers each message with the name of who sent it. It trusts X-User, since
// only the proxy can connect: it listens on loopback.
import { WebSocketServer } from "ws";

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(process.argv[2] ?? 9090) });

server.on("listening", () => console.log(`listens on ${server.address().port}`));

server.on("connection", (socket, request) => {
  const user = decodeURIComponent(request.headers["x-user"]);
  console.log("connected");
  socket.on("message", (text) => socket.send(`${user}: ${text}`));
  socket.on("error", () => {}); // "close" follows
  socket.on("close", () => console.log("closed"));
});
