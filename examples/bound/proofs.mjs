// Makes a request with a proof of each algorithm of the package dpop: it writes the thumbprint of a key, reads a token
// that is bound to the key, and writes the status.
//
//     node proofs.mjs <server>
import { createInterface } from "node:readline";
import * as dpop from "dpop";

const url = process.argv[2] + "/me";
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

for (const algorithm of ["ES256", "Ed25519", "RS256", "PS256"]) {
  const keys = await dpop.generateKeyPair(algorithm);
  console.log(await dpop.calculateThumbprint(keys.publicKey));
  const token = (await lines.next()).value;
  const get = async nonce => fetch(url, {
    headers: { authorization: `DPoP ${token}`, dpop: await dpop.generateProof(keys, url, "GET", nonce, token) },
  });
  const refused = await get();
  const { status } = await get(refused.headers.get("dpop-nonce"));
  console.log(`${algorithm}: ${refused.status}, and with the nonce ${status}`);
}
process.exit();
