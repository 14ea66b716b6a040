// Runs the cases that stand beside each example, in tests/*.yaml. sdk/CASES.md has their form.

import assert from "node:assert/strict";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import YAML from "yaml";
import { Guest } from "./guest.mjs";

const examples = fileURLToPath(new URL("../examples/", import.meta.url));

for (const name of readdirSync(examples)) {
  const dir = path.join(examples, name, "tests");
  if (!existsSync(dir)) continue;
  for (const file of readdirSync(dir).filter((file) => file.endsWith(".yaml"))) {
    const suite = YAML.parse(readFileSync(path.join(dir, file), "utf8"));
    // Bodies in pieces are passed by odin-cli alone.
    if (["stream", "events"].includes(suite.body)) continue;
    for (const plugin of [suite.plugin].flat()) {
      const module = new WebAssembly.Module(readFileSync(path.join(dir, plugin)));
      const label = path.basename(plugin, ".wasm");
      for (const one of suite.cases)
        test(`${label}: ${one.name}`, () => run(module, suite, one, dir));
    }
  }
}

/** One case: its steps on one instance, with one host. */
function run(module, suite, one, dir) {
  const config = { ...suite.config, ...one.config };
  const stubs = { ...suite.host, ...one.host };
  const guest = new Guest(module, config, {
    now: stubs.time ?? 1_700_000_000,
    kv: new Map(
      Object.entries(stubs.kv ?? {}).map(([key, value]) => [key, { value, expires: Infinity }]),
    ),
    kvIsDown: stubs.kvIsDown ?? false,
    files: Object.fromEntries(
      Object.entries(stubs.files ?? {}).map(([name, file]) => [name, content(file, dir)]),
    ),
    http: (request) => answer(stubs.http ?? [], request),
  });
  for (const step of one.steps ?? [one]) {
    if (step.time !== undefined) guest.host.now = step.time;
    guest.logs.length = 0;
    guest.calls.length = 0;
    for (let call = 1; call < (step.repeat ?? 1); call++) play(guest, step);
    check(guest, play(guest, step), step.expect ?? {});
  }
}

/** A file's content: as it stands, or that of a file beside the cases. */
function content(file, dir) {
  return typeof file === "string" ? file : readFileSync(path.join(dir, file.from), "utf8");
}

function answer(answers, request) {
  const found = answers.find(
    (one) => one.url === request.url && (one.method ?? "GET") === request.method,
  );
  if (!found)
    return { statusCode: 0, error: `the case has no answer for ${request.method} ${request.url}` };
  if (found.error) return { statusCode: 0, error: found.error };
  return { statusCode: found.status ?? 200, headers: lists(found.headers), body: text(found) };
}

function play(guest, step) {
  const context = { ...step.context, metadata: step.metadata ?? {} };
  if (step.answers) {
    const responses = step.answers.map((one) => ({
      name: one.name,
      service: one.service ?? one.name,
      statusCode: one.status ?? 200,
      headers: lists(one.headers),
      body: text(one),
    }));
    return guest.answers(responses, message(step.request ?? {}), context);
  }
  if (step.response) {
    const request = message(step.request ?? {});
    const { status = 200, ...rest } = message(step.response);
    return guest.response({ statusCode: status, ...rest, request }, context);
  }
  return guest.request(message(step.request ?? {}), context);
}

function message({ headers, body, json, ...rest }) {
  return { ...rest, headers: lists(headers), body: text({ body, json }) };
}

function text({ body, json }) {
  return json === undefined ? (body ?? "") : JSON.stringify(json);
}

function lists(headers = {}) {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value].flat()]));
}

/** What an expectation does not name may be anything. */
function check(guest, output, expected) {
  const message = output.request ?? output.response ?? {};
  const where = JSON.stringify(output);
  if ("continue" in expected) assert.equal(output.continue, expected.continue ?? undefined, where);
  if ("modified" in expected) assert.equal(output.modified, expected.modified, where);
  if ("status" in expected) assert.equal(message.statusCode, expected.status, where);
  if ("url" in expected) assert.equal(message.url, expected.url, where);
  if ("body" in expected) assert.equal(message.body, expected.body, where);
  if ("json" in expected)
    assert.deepEqual(JSON.parse(message.body ?? "null"), expected.json, where);
  if ("error" in expected) assert.ok((output.error ?? "").includes(expected.error), where);
  if ("metadata" in expected) assert.deepEqual(output.metadata ?? {}, expected.metadata, where);
  const headers = new Map(
    Object.entries(message.headers ?? {}).map(([name, v]) => [name.toLowerCase(), v]),
  );
  for (const [name, value] of Object.entries(lists(expected.headers))) {
    const got = headers.get(name.toLowerCase());
    // null: the header is not changed; an empty list: it is removed.
    assert.deepEqual(got, value[0] === null ? undefined : value, `${name} in ${where}`);
  }
  for (const line of expected.log ?? []) {
    assert.ok(
      guest.logs.some((log) => log.text.includes(line)),
      `no "${line}" in ${JSON.stringify(guest.logs)}`,
    );
  }
  if ("calls" in expected)
    assert.deepEqual(
      guest.calls.map((call) => call.url),
      expected.calls,
    );
}
