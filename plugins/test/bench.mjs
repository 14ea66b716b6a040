// What one call costs in the guest: `node test/bench.mjs dist/*.wasm`. Compare within one run only.

import { Guest } from "./guest.mjs";

const CONFIG = { addHeaders: { "X-Gateway": "Odin", "X-Version": "v1" } };
const HEADERS = Object.fromEntries(
  Array.from({ length: 12 }, (_, i) => [`X-Header-Number-${i}`, [`some value of header ${i}`]]),
);
const CALLS = 20_000;
const ROUNDS = 7;

for (const path of process.argv.slice(2)) {
  for (const bodyBytes of [0, 4096]) {
    const guest = Guest.load(path, CONFIG);
    const body = '{"some":"json"}'.repeat(bodyBytes / 15);
    const input = Buffer.from(
      JSON.stringify(
        guest.envelope("request", {
          method: "GET",
          url: "http://host/api/users?limit=10",
          headers: HEADERS,
          query: { limit: ["10"] },
          body,
        }),
      ),
    );
    const rounds = [];
    for (let round = 0; round < ROUNDS; round++) {
      const start = process.hrtime.bigint();
      for (let call = 0; call < CALLS; call++) guest.callBytes(input);
      rounds.push(Number(process.hrtime.bigint() - start) / CALLS / 1000);
    }
    rounds.sort((a, b) => a - b);
    const median = rounds[ROUNDS >> 1].toFixed(2);
    console.log(
      `${path} body ${bodyBytes}: ${median} us/call, memory ${guest.memoryBytes / 65536} pages`,
    );
  }
}
