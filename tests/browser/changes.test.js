// What is pressed is done, and what cannot be done is said: load, upload, disable, enable, unload,
// reload.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";

import { launch, noComplaints, open } from "./support/browser.js";
import { Gateway } from "./support/gateway.js";
import { broken, tagging } from "./support/wasm.js";

describe("changes", { timeout: 120_000 }, () => {
  let [browser, gateway, page] = [];
  before(async () => (browser = await launch()));
  after(() => browser.close());
  afterEach(async () => {
    await page.context().close();
    await gateway.stop();
    noComplaints(page);
  });

  /** The dashboard of a gateway with the plugin `tag`, which sets `X-Tag: one`. */
  async function start() {
    gateway = await Gateway.start({
      plugins: { tag: { module: tagging("one"), keys: "type: request, priority: 7" } },
    });
    page = await open(browser, gateway.url);
    await row("tag").waitFor();
  }

  const row = (name) =>
    page.locator("#plugins tr.row").filter({ has: page.getByText(name, { exact: true }) });
  const said = (words) => page.locator("#notices").getByText(words).first().waitFor();
  const problem = (id) => page.locator(`#${id} .problem`);
  const shows = async (name, state) =>
    row(name).locator(".pill").getByText(state, { exact: true }).waitFor();

  /** Waits for the problem of a dialog and gives its words. */
  async function refusedIn(id) {
    await page.waitForFunction(
      (id) => document.querySelector(`#${id} .problem`).textContent !== "",
      id,
    );
    assert.ok(await page.locator(`#${id}`).isVisible(), "the dialog stays open");
    return problem(id).textContent();
  }

  async function load(keys) {
    if (!(await page.locator("#load-dialog").isVisible())) await page.click("#open-load");
    for (const [name, value] of Object.entries(keys))
      await page.fill(`#load-form [name=${name}]`, value);
    await page.click("#load-form .main");
  }

  test("a plugin is loaded with its type, priority and configuration, and serves", async () => {
    await start();
    await gateway.put("plugins/two.wasm", tagging("two"));
    await page.click("#open-load");
    await page.selectOption("#load-form [name=type]", "request");
    await load({
      name: "second",
      path: "two.wasm",
      priority: "500",
      config: '{"depth": {"of": 3}}',
    });
    await said("Plugin second loaded.");
    await shows("second", "active");
    assert.equal(await gateway.tag(), "two");
    const { body } = await gateway.call("GET", "/api/plugins/second");
    assert.deepEqual(
      [body.type, body.priority, body.config],
      ["request", 500, { depth: { of: 3 } }],
    );
  });

  test("a load that fails says why, in the dialog and in the lists, and changes nothing", async () => {
    await start();
    await gateway.put("plugins/bad.wasm", broken);
    await gateway.put("plugins/two.wasm", tagging("two"));
    await load({ name: "", path: "two.wasm" });
    assert.equal(await refusedIn("load-dialog"), "Name is missing.");
    await load({ name: "bad", path: "bad.wasm" });
    assert.match(await refusedIn("load-dialog"), /failed to compile plugin/);
    await load({ name: "bad", path: "two.wasm", sha256: "0".repeat(64) });
    await page.waitForFunction(() =>
      /sha256/.test(document.querySelector("#load-dialog .problem").textContent),
    );
    await load({ name: "bad", path: "two.wasm", sha256: "", config: "{" });
    await page.waitForFunction(() =>
      /not JSON/.test(document.querySelector("#load-dialog .problem").textContent),
    );
    await page.click("#load-form [data-close]");
    for (const list of ["#reloads", "#recent"]) {
      await page
        .locator(list)
        .getByText(/failed to compile plugin/)
        .first()
        .waitFor();
      await page
        .locator(list)
        .getByText(/sha256/)
        .first()
        .waitFor();
    }
    assert.equal(await gateway.tag(), "one");
    assert.equal(await row("bad").count(), 0);
  });

  test("a module is uploaded as a new plugin and in the place of another", async () => {
    await start();
    const upload = async (name, content) => {
      const file = join(gateway.dir, "chosen.wasm");
      await writeFile(file, content);
      await page.setInputFiles("#upload-form [name=module]", file);
      if (name) await page.fill("#upload-form [name=name]", name);
      await page.click("#upload-form .main");
    };
    await page.click("#open-upload");
    await upload("fresh", tagging("fresh"));
    await said("Plugin fresh uploaded and loaded.");
    await shows("fresh", "active");

    await page.getByRole("button", { name: "tag request" }).click();
    await page.getByRole("button", { name: "Upload a new module tag" }).click();
    await upload(null, broken);
    assert.match(await refusedIn("upload-dialog"), /failed to compile plugin/);
    await upload(null, Uint8Array.from([1, 2, 3]));
    await page.waitForFunction(() =>
      /asm/.test(document.querySelector("#upload-dialog .problem").textContent),
    );
    await upload(null, tagging("again"));
    await said("Plugin tag uploaded and loaded.");
    const { body } = await gateway.call("GET", "/api/plugins/tag");
    assert.deepEqual([body.type, body.priority], ["request", 7], "it keeps its settings");
    assert.equal(body.sha256, body.digest);
  });

  test("a plugin is disabled, enabled and unloaded", async () => {
    await start();
    await page.getByRole("button", { name: "Disable tag" }).click();
    await said("Plugin tag disabled.");
    await shows("tag", "disabled");
    assert.equal(await gateway.tag(), "none");
    await page.getByRole("button", { name: "Enable tag" }).click();
    await said("Plugin tag enabled.");
    await shows("tag", "active");
    assert.equal(await gateway.tag(), "one");

    await page.getByRole("button", { name: "tag request" }).click();
    await page.getByRole("button", { name: "Unload tag" }).click();
    assert.equal(await page.locator("#unload-title").textContent(), "Unload tag?");
    await page.click("#unload-form [data-close]");
    assert.equal(await gateway.tag(), "one", "cancelled");
    await page.getByRole("button", { name: "Unload tag" }).click();
    await page.click("#unload-form .main");
    await said("Plugin tag unloaded.");
    await page.locator("#no-plugins").waitFor();
    assert.equal(await gateway.tag(), "none");
  });

  test("a change that is to last is written into the file", async () => {
    await start();
    await page.getByRole("button", { name: "tag request" }).click();
    await page.getByRole("button", { name: "Unload tag" }).click();
    await page.check("#unload-form [name=persist]");
    await page.click("#unload-form .main");
    await said("Plugin tag unloaded.");
    await gateway.call("POST", "/api/config/reload");
    assert.equal(await gateway.tag(), "none", "the file has no such plugin any more");
  });

  test("a reload that fails shows its reason and traffic goes on; a later one succeeds", async () => {
    await start();
    await gateway.put("odin.yaml", `${gateway.config}servces: 1\n`);
    await page.click("#reload");
    await said(/servces: unknown key; did you mean "services"\?/);
    assert.equal(await gateway.tag(), "one");
    const change = page.locator("#reloads li").first();
    await change.getByText("refused").waitFor();
    assert.match(await change.locator(".reason").textContent(), /servces: unknown key/);
    assert.match(
      await page.locator("#recent li").first().textContent(),
      /refused.*servces: unknown key/s,
    );

    await gateway.put("odin.yaml", gateway.config.replace("priority: 7", "priority: 8"));
    await page.click("#reload");
    await said("Configuration reloaded.");
    await page.locator("#reloads li").first().getByText("generation 2").waitFor();
  });

  test("what somebody else changes is shown without a click", async () => {
    await start();
    await gateway.call("PUT", "/api/plugins/tag/enabled", { body: '{"enabled": false}' });
    await shows("tag", "disabled");
    await page.locator("#reloads").getByText("plugin tag disabled (admin API)").waitFor();
  });
});
