// The canaries do misbehave as they promise: a canary that sings by itself would make every test of
// the gateway that uses it worthless.

import assert from "node:assert/strict";
import test from "node:test";
import { Guest } from "./guest.mjs";

const load = (name, config) =>
  Guest.load(new URL(`../dist/canaries/${name}.wasm`, import.meta.url), config);
const call = (mode) => load("canary", { mode }).request();

test("empty changes nothing", () => {
  assert.deepEqual(load("empty").request(), { modified: false, continue: true });
});

for (const mode of ["trap", "panic", "unreachable"]) {
  test(`${mode} traps`, () => assert.throws(() => call(mode), WebAssembly.RuntimeError));
}

test("recurse exhausts the stack", () => {
  assert.throws(
    () => call("recurse"),
    (cause) => cause instanceof RangeError || cause instanceof WebAssembly.RuntimeError,
  );
});

for (const mode of [
  "pointer-past-end",
  "pointer-near-end",
  "pointer-wraps",
  "pointer-negative",
  "length-4-gib",
]) {
  test(`${mode} is out of bounds`, () => assert.throws(() => call(mode), RangeError));
}

for (const mode of [
  "not-json",
  "json-truncated",
  "json-trailing",
  "length-zero",
  "null",
  "length-whole-memory",
]) {
  test(`${mode} is not JSON`, () => assert.throws(() => call(mode), SyntaxError));
}

test("crlf-value carries CR and LF", () => {
  assert.match(call("crlf-value").response.headers["x-canary"][0], /\r\n/);
});

test("flood is a large body", () => {
  assert.ok(call("flood").response.body.length > 1 << 20);
});

test("an unknown mode says so", () => {
  assert.match(call("no such mode").error, /config\.mode/);
});

test("x-canary: spare lets a request pass in any mode", () => {
  const output = load("canary", { mode: "trap" }).request({ headers: { "x-canary": ["spare"] } });
  assert.deepEqual(output, { modified: false, continue: true });
});

test("trap-start and trap-init trap before the first call, trap-cleanup after the last", () => {
  assert.throws(() => load("trap-start"), WebAssembly.RuntimeError);
  assert.throws(() => load("trap-init"), WebAssembly.RuntimeError);
  const guest = load("trap-cleanup");
  guest.request();
  assert.throws(() => guest.instance.exports.cleanup(), WebAssembly.RuntimeError);
});

test("no-execute has none", () => {
  assert.equal(load("no-execute").instance.exports.execute, undefined);
});

test("bad-alloc lies from the second buffer on", () => {
  const { alloc, memory } = load("bad-alloc").instance.exports;
  assert.ok((alloc(10) >>> 0) + 10 <= memory.buffer.byteLength);
  assert.ok(alloc(10) >>> 0 >= memory.buffer.byteLength);
  assert.equal(alloc(10), 0);
  assert.ok((alloc(10) >>> 0) + 10 > memory.buffer.byteLength);
});

test("the probe shows what it was given and does what it was told", () => {
  const guest = load("probe", {
    name: "a",
    show: { phase: "/context/phase", none: "/nothing" },
    getConfig: { deep: "x.y", gone: "z" },
    x: { y: 5 },
    calls: true,
    time: true,
    showAll: "metadata",
    log: [{ level: 3, text: "line" }],
    grow: 1,
  });
  guest.request();
  const output = guest.request({ headers: { "X-A": ["ü"] } });
  assert.deepEqual(output.response.headers, {
    "x-probe-a-phase": ['"request"'],
    "x-probe-a-none": ["absent"],
    "x-probe-a-deep": ["5"],
    "x-probe-a-gone": ["absent"],
    "x-probe-a-time": ["1700000000"],
    "x-probe-a-calls": ["2"],
    "x-probe-a-grow": ["granted"],
  });
  assert.deepEqual(output.metadata.a.input.headers, { "X-A": ["ü"] });
  assert.deepEqual(guest.logs.at(-1), { level: "warn", text: "line" });
});

test("the probe answers verbatim, in its phase only, and traps on its header only", () => {
  const respond = { modified: false, continue: false, error: "told to" };
  const guest = load("probe", { phase: "response", respond, trapOn: "x-trap" });
  assert.deepEqual(guest.request({ headers: { "X-Trap": ["1"] } }), {
    modified: false,
    continue: true,
  });
  assert.deepEqual(guest.response(), respond);
  assert.throws(
    () => guest.response({ request: { headers: { "X-Trap": ["1"] } } }),
    WebAssembly.RuntimeError,
  );
});

test("the host canary hands over what it says, and goes on where the host lets it", () => {
  const host = (mode, stubs) =>
    Guest.load(
      new URL("../dist/canaries/host.wasm", import.meta.url),
      { mode, url: "http://u/" },
      stubs,
    );
  const storm = host("log-storm");
  assert.equal(storm.request().continue, true);
  assert.equal(storm.logs.length, 10_000);
  for (const name of [
    "log",
    "kv_get",
    "kv_set",
    "kv_incr",
    "kv_delete",
    "kv_cas",
    "http_call",
    "read_file",
    "metric_increment",
    "metric_record",
    "get_config",
  ]) {
    assert.throws(() => host(`wild-${name}-past-end`).request(), RangeError, name);
  }
  assert.throws(() => host("http-trap").request(), WebAssembly.RuntimeError);
  const calls = host("http-storm");
  calls.request();
  assert.equal(calls.calls.length, 1000);
});

test("a command module in C runs its main, exits with 0 and works", () => {
  const guest = load("c-command");
  assert.deepEqual(
    guest.logs.map((line) => line.text),
    ["main was here\n"],
  );
  assert.deepEqual(guest.request(), { modified: false, continue: true });
});
