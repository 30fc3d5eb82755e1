// Sends many proofs to the server and to oauth4webapi, which can judge them, too, and writes both verdicts.
//
//     node differential.mjs <issuer> <server>
//
// It writes the thumbprint of its key, and reads a token that is bound to the key, and one that is bound to another.
import { createHash, randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import * as oauth from "oauth4webapi";

const [issuer, server] = process.argv.slice(2);
const insecure = { [oauth.allowInsecureRequests]: true };
const keys = await oauth.generateKeyPair("ES256", { extractable: true });
const other = await oauth.generateKeyPair("ES256", { extractable: true });
const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", keys.publicKey);
const { d } = await crypto.subtle.exportKey("jwk", keys.privateKey);
const jwk = { kty, crv, x, y };
const otherJWK = await crypto.subtle.exportKey("jwk", other.publicKey);
const url = `${server}/me`;

console.log(await oauth.DPoP({ client_id: "chat-app" }, keys).calculateThumbprint());
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const token = (await lines.next()).value;
const foreign = (await lines.next()).value;
const discovery = await oauth.discoveryRequest(new URL(issuer), insecure);
const as = await oauth.processDiscoveryResponse(new URL(issuer), discovery);

let nonce = "";
const refused = await fetch(url, { headers: { authorization: `DPoP ${token}`, dpop: await withClaims({}) } });
nonce = refused.headers.get("dpop-nonce");

function header(changes) {
  return JSON.stringify({ typ: "dpop+jwt", alg: "ES256", jwk, ...changes });
}

function claims(changes) {
  const ath = createHash("sha256").update(token).digest("base64url");
  return JSON.stringify({ jti: randomUUID(), htm: "GET", htu: url, iat: now(), ath, nonce, ...changes });
}

function now() { return Math.floor(Date.now() / 1000); }

async function sign(head, body, key = keys.privateKey) {
  const input = `${Buffer.from(head).toString("base64url")}.${Buffer.from(body).toString("base64url")}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key, Buffer.from(input));
  return `${input}.${Buffer.from(signature).toString("base64url")}`;
}

function withClaims(changes) { return sign(header({}), claims(changes)); }
const withHeader = changes => sign(header(changes), claims({}));
const withJWK = changes => withHeader({ jwk: { ...jwk, ...changes } });
const bodyOf = text => sign(header({}), claims({}).replace(/}$/, text));
const { host } = new URL(server);

const proofs = {
  "good": withClaims({}),
  "of another key": sign(header({ jwk: otherJWK }), claims({}), other.privateKey),
  "with the key of another": sign(header({}), claims({}), other.privateKey),
  "htm in lower case": withClaims({ htm: "get" }),
  "htm of another method": withClaims({ htm: "POST" }),
  "htm: missing": withClaims({ htm: undefined }),
  "htm: a number": withClaims({ htm: 1 }),
  "htu with a query": withClaims({ htu: `${url}?a=b` }),
  "htu with a fragment": withClaims({ htu: `${url}#a` }),
  "htu with a scheme in capitals": withClaims({ htu: url.replace("http", "HTTP") }),
  "htu with a slash": withClaims({ htu: `${url}/` }),
  "htu with two slashes": withClaims({ htu: `${server}//me` }),
  "htu with a dot segment": withClaims({ htu: `${server}/x/../me` }),
  "htu with an escape": withClaims({ htu: `${server}/%6de` }),
  "htu in capitals": withClaims({ htu: `${server}/ME` }),
  "htu with another port": withClaims({ htu: "http://127.0.0.1:1/me" }),
  "htu with another host": withClaims({ htu: `http://localhost:${new URL(server).port}/me` }),
  "htu with https": withClaims({ htu: `https://${host}/me` }),
  "htu with a user": withClaims({ htu: `http://user@${host}/me` }),
  "htu of another, with ours as its user": withClaims({ htu: `http://${host}@evil.example/me` }),
  "htu of ours, with another as its user": withClaims({ htu: `http://evil.example@${host}/me` }),
  "htu with a backslash": withClaims({ htu: `http://evil.example\\@${host}/me` }),
  "htu with a space in front": withClaims({ htu: ` ${url}` }),
  "htu with a newline": withClaims({ htu: `${server}/m\ne` }),
  "htu without a host": withClaims({ htu: "/me" }),
  "htu: a list": withClaims({ htu: [url] }),
  "htu: missing": withClaims({ htu: undefined }),
  "iat a minute ago": withClaims({ iat: now() - 50 }),
  "iat an hour ago": withClaims({ iat: now() - 3600 }),
  "iat in an hour": withClaims({ iat: now() + 3600 }),
  "iat: a fraction": withClaims({ iat: now() + 0.5 }),
  "iat: a string": withClaims({ iat: `${now()}` }),
  "iat: missing": withClaims({ iat: undefined }),
  "exp in the past": withClaims({ exp: now() - 3600 }),
  "nbf in the future": withClaims({ nbf: now() + 3600 }),
  "exp and nbf": withClaims({ exp: now() + 60, nbf: now() - 60 }),
  "jti: missing": withClaims({ jti: undefined }),
  "jti: empty": withClaims({ jti: "" }),
  "jti: a number": withClaims({ jti: 1 }),
  "ath: missing": withClaims({ ath: undefined }),
  "ath: empty": withClaims({ ath: "" }),
  "ath in hexadecimal": withClaims({ ath: createHash("sha256").update(token).digest("hex") }),
  "ath with padding": withClaims({ ath: createHash("sha256").update(token).digest("base64") }),
  "ath of another token": withClaims({ ath: createHash("sha256").update(foreign).digest("base64url") }),
  "claims of its own": withClaims({ azp: "x", deep: { a: [1] } }),
  "htm twice": bodyOf(`,"htm":"POST"}`),
  "HTM": bodyOf(`,"HTM":"POST"}`),
  "space among the claims": sign(header({}), ` ${claims({})} `),
  "claims that are a list": sign(header({}), `[${claims({})}]`),
  "typ JWT": withHeader({ typ: "JWT" }),
  "typ at+jwt": withHeader({ typ: "at+jwt" }),
  "typ: missing": withHeader({ typ: undefined }),
  "typ in capitals": withHeader({ typ: "DPOP+JWT" }),
  "typ with application/": withHeader({ typ: "application/dpop+jwt" }),
  "alg none": withHeader({ alg: "none" }),
  "alg HS256": withHeader({ alg: "HS256" }),
  "alg RS256": withHeader({ alg: "RS256" }),
  "alg: missing": withHeader({ alg: undefined }),
  "crit": withHeader({ crit: ["x"], x: 1 }),
  "crit: empty": withHeader({ crit: [] }),
  "b64": withHeader({ b64: true }),
  "a kid": withHeader({ kid: "k" }),
  "a jku": withHeader({ jku: "https://evil.example/jwks" }),
  "jwk: missing": withHeader({ jwk: undefined }),
  "jwk: a string": withHeader({ jwk: JSON.stringify(jwk) }),
  "jwk: a list": withHeader({ jwk: [jwk] }),
  "jwk with a private key": withJWK({ d }),
  "jwk with alg": withJWK({ alg: "ES256" }),
  "jwk with another alg": withJWK({ alg: "RS256" }),
  "jwk with use sig": withJWK({ use: "sig" }),
  "jwk with use enc": withJWK({ use: "enc" }),
  "jwk with key_ops": withJWK({ key_ops: ["verify"], ext: true }),
  "jwk with key_ops sign": withJWK({ key_ops: ["sign"] }),
  "jwk with a kid": withJWK({ kid: "k" }),
  "jwk with kty oct": withJWK({ kty: "oct", k: "AAAA" }),
  "jwk with another curve": withJWK({ crv: "P-384" }),
  "jwk with x padded": withJWK({ x: `${x}=` }),
  "jwk that is not on its curve": withJWK({ x: y, y: x }),
  "a signature that is cut": withClaims({}).then(proof => proof.slice(0, -4)),
  "a signature with padding": withClaims({}).then(proof => `${proof}==`),
  "no signature": withClaims({}).then(proof => proof.replace(/[^.]+$/, "")),
  "four parts": withClaims({}).then(proof => `${proof}.x`),
  "two proofs": Promise.all([withClaims({}), withClaims({})]).then(both => both.join(", ")),
  "the token": Promise.resolve(token),
};

async function ours(headers) {
  const { status } = await fetch(url, { headers });
  return status === 200;
}

async function theirs(headers) {
  try {
    await oauth.validateJwtAccessToken(as, new Request(url, { headers }), "urn:chat", insecure);
    return true;
  } catch {
    return false;
  }
}

const word = accepted => accepted ? "accepted" : "refused";
for (const [name, proof] of Object.entries(proofs)) {
  const headers = { authorization: `DPoP ${token}`, dpop: await proof };
  const verdict = await ours(headers);
  console.log(`${name}\t${word(verdict)}\t${word(await theirs(headers))}`);
}
process.exit();
