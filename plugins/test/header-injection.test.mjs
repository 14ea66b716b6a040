// The three header-injection plugins are one product: the same cases hold for each of them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { Guest } from "./guest.mjs";

const CONFIG = {
  addHeaders: { "X-Gateway": "Odin", Via: ["1.1 a", "1.1 b"], "X-Both": "set" },
  removeHeaders: ["Cookie", "x-both"],
};
const HEADERS = { "X-Gateway": ["Odin"], Via: ["1.1 a", "1.1 b"], "X-Both": ["set"], Cookie: [] };
const DEFAULT_MEMORY_PAGES = 100;

for (const language of ["rust", "go", "assemblyscript", "c"]) {
  const path = new URL(`../dist/header-injection-${language}.wasm`, import.meta.url);
  const load = (config) => Guest.load(path, config);

  test(`${language}: headers are added and removed, in both phases`, () => {
    const guest = load(CONFIG);
    for (const output of [guest.request(), guest.response()]) {
      assert.deepEqual(output, { modified: true, continue: true, response: { headers: HEADERS } });
    }
  });

  test(`${language}: no configuration, no change`, () => {
    assert.deepEqual(load({}).request(), { modified: false, continue: true });
  });

  test(`${language}: a value that is neither text nor list is an error that leaves the verdict open`, () => {
    const output = load({ addHeaders: { "X-A": 1 } }).request();
    assert.match(output.error, /^config: /);
    assert.equal(output.continue, undefined);
  });

  test(`${language}: a changed configuration counts from the next call`, () => {
    const guest = load({ addHeaders: { "X-A": "1" } });
    assert.deepEqual(guest.request().response.headers, { "X-A": ["1"] });
    guest.config = { addHeaders: { "X-A": "2" } };
    assert.deepEqual(guest.request().response.headers, { "X-A": ["2"] });
  });

  test(`${language}: quotes, control characters and text beyond ASCII pass through`, () => {
    const value = 'a"b\\c\u0001\u007fü€𝄞';
    const output = load({ addHeaders: { "X-A": value } }).request();
    assert.deepEqual(output.response.headers, { "X-A": [value] });
  });

  test(`${language}: an input that is not JSON is an error, not a trap`, () => {
    for (const input of ["", "{", "[]", "null", '{"context":1,"input":2}']) {
      assert.equal(typeof load(CONFIG).call(input).error, "string", input);
    }
  });

  test(`${language}: thousands of calls with bodies stay within the default memory limit`, () => {
    const guest = load(CONFIG);
    const body = 'text with "quotes" and ü '.repeat(600);
    for (let call = 0; call < 3000; call++) guest.request({ method: "POST", body });
    const pages = guest.memoryBytes / 65536;
    assert.ok(pages <= DEFAULT_MEMORY_PAGES, `${pages} pages`);
  });

  test(`${language}: the input.json beside it gives what its README says`, () => {
    const input = new URL(`../examples/header-injection/${language}/input.json`, import.meta.url);
    const output = load({}).call(readFileSync(input, "utf8"));
    assert.deepEqual(output.response.headers["X-Gateway"], ["Odin"]);
  });
}
