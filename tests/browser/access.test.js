// Who may use it: the token's holder, and no page of another origin.

import assert from "node:assert/strict";
import http from "node:http";
import { after, afterEach, before, describe, test } from "node:test";

import { launch, noComplaints, open } from "./support/browser.js";
import { Gateway } from "./support/gateway.js";
import { tagging } from "./support/wasm.js";

const LOAD = JSON.stringify({ name: "intruder", path: "tag.wasm", type: "request" });
const TOKEN = "a-token-of-32-letters-0123456789";

describe("access", { timeout: 120_000 }, () => {
  let [browser, gateway, page, other] = [];
  before(async () => {
    browser = await launch(["--host-resolver-rules=MAP evil.test 127.0.0.1"]);
    other = http.createServer((request, response) => {
      if (request.url.startsWith("/api/")) return forward(request, response);
      response.setHeader("Content-Type", "text/html");
      response.end("<!doctype html><title>other</title><body></body>");
    });
    await new Promise((listening) => other.listen(0, "127.0.0.1", listening));
  });
  after(async () => {
    await browser.close();
    other.closeAllConnections();
    other.close();
  });
  afterEach(async () => {
    await page.context().close();
    await gateway.stop();
  });

  /** As if the other server's name had been pointed at the gateway's address meanwhile. */
  function forward(asked, response) {
    const [host, port] = gateway.admin.split(":");
    const { method, url: path, headers } = asked;
    const passed = http.request({ host, port, method, path, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    asked.pipe(passed);
  }

  async function start(options = {}) {
    gateway = await Gateway.start({ plugins: { tag: { module: tagging("one") } }, ...options });
  }

  async function plugins(token) {
    const { body } = await gateway.call("GET", "/api/plugins", { token });
    return body.plugins.map((plugin) => plugin.name);
  }

  test("the page asks for the token, refuses a wrong one, and keeps the right one for the tab", async () => {
    await start({ token: TOKEN });
    page = await open(browser, gateway.url);
    const dialog = page.locator("#token-dialog");
    const give = async (text) => {
      await dialog.waitFor();
      await page.fill("#token-form [name=token]", text);
      await page.click("#token-form .main");
    };
    await give("not-the-token");
    await dialog.getByText("That is not the token of this gateway.").waitFor();
    await page.keyboard.press("Escape");
    assert.ok(await dialog.isVisible(), "there is nothing to see without it");
    assert.equal(await page.locator("#plugins tr.row").count(), 0);
    await give("späť");
    await dialog.getByText("A token has no blanks").waitFor();
    await give(TOKEN);
    await page.locator("#plugins tr.row").waitFor();
    await page.getByRole("button", { name: "Disable tag" }).click();
    await page.locator("#notices").getByText("Plugin tag disabled.").waitFor();

    await page.reload();
    await page.locator("#plugins tr.row").waitFor();
    const kept = await page.evaluate(() =>
      [document.cookie, localStorage.length, location.href].join(),
    );
    assert.equal(
      kept,
      `,0,${gateway.url}`,
      "neither a cookie, nor stored for good, nor in the address",
    );
    const another = await page.context().newPage();
    await another.goto(gateway.url);
    await another.locator("#token-dialog").waitFor();
    await page.click("#forget");
    await dialog.waitFor();
    noComplaints(page);
  });

  test("the page has nothing of the gateway in it before the token is shown", async () => {
    await start({ token: TOKEN });
    page = await open(browser, gateway.url);
    const text = await (await fetch(gateway.url)).text();
    assert.ok(!text.includes(TOKEN) && !text.includes(gateway.dir));
    for (const path of ["/api/events", "/api/plugins", "/api/status", "/metrics"]) {
      assert.equal((await gateway.call("GET", path)).status, 401, path);
    }
  });

  for (const [words, host] of [
    ["another port", "127.0.0.1"],
    ["another site", "evil.test"],
  ]) {
    test(`a page of ${words} cannot load, upload, unload, reload or read`, async () => {
      await start();
      page = await open(browser, `http://${host}:${other.address().port}/`);
      const failures = [];
      page.on("requestfailed", (request) => failures.push(request.failure().errorText));
      const read = await page.evaluate(
        async ({ admin, body }) => {
          const attempt = (path, options) =>
            fetch(admin + path, options).then(
              () => path,
              () => null,
            );
          const json = { "Content-Type": "application/json" };
          return [
            await attempt("api/plugins/load", { method: "POST", mode: "no-cors", body }),
            await attempt("api/config/reload", { method: "POST", mode: "no-cors" }),
            await attempt("api/plugins/load", {
              method: "POST",
              body,
              headers: { "Content-Type": "text/plain" },
            }),
            await attempt("api/plugins/load", { method: "POST", body, headers: json }),
            await attempt("api/plugins/intruder/module", { method: "PUT", body: "\0asm" }),
            await attempt("api/plugins/unload/tag", { method: "DELETE" }),
            await attempt("api/config", {}),
            await attempt("api/events", {}),
          ];
        },
        { admin: gateway.url, body: LOAD },
      );
      assert.deepEqual(
        read.filter((path) => path !== null),
        [],
        "nothing can be read",
      );
      // What needs no permission to be sent was sent, and answered: the browser hides the answer.
      assert.deepEqual(
        failures.slice(0, 2),
        Array(2).fill("net::ERR_BLOCKED_BY_RESPONSE.NotSameOrigin"),
      );
      assert.deepEqual(await plugins(), ["tag"]);
      assert.deepEqual(
        (await gateway.call("GET", "/api/reloads")).body,
        [],
        "nothing was even tried",
      );
    });

    test(`a form on a page of ${words} cannot load a plugin`, async () => {
      await start();
      page = await open(browser, `http://${host}:${other.address().port}/`);
      const [answer] = await Promise.all([
        page.waitForNavigation(),
        page.evaluate(
          ({ admin, body }) => {
            const form = document.createElement("form");
            form.method = "POST";
            form.action = `${admin}api/plugins/load`;
            form.enctype = "text/plain";
            // Sent as name=value: with this name, the whole is JSON.
            const field = document.createElement("input");
            field.name = `${body.slice(0, -1)}, "priority`;
            field.value = '": 5}';
            form.append(field);
            document.body.append(form);
            form.submit();
          },
          { admin: gateway.url, body: LOAD },
        ),
      ]);
      assert.equal(answer.status(), 403);
      assert.deepEqual(await plugins(), ["tag"]);
    });
  }

  test("what those pages send does load when it comes from nowhere else", async () => {
    await start();
    page = await open(browser, gateway.url);
    assert.equal((await gateway.call("POST", "/api/plugins/load", { body: LOAD })).status, 200);
    assert.deepEqual(await plugins(), ["tag", "intruder"]);
  });

  test("a page whose name was pointed at the gateway's address cannot load a plugin", async () => {
    await start();
    page = await open(browser, `http://evil.test:${other.address().port}/`);
    const [status, reason] = await page.evaluate(async (body) => {
      const response = await fetch("/api/plugins/load", { method: "POST", body });
      return [response.status, (await response.json()).error];
    }, LOAD);
    assert.equal(status, 403);
    assert.match(reason, /the host evil\.test:\d+ is not this admin API/);
    assert.deepEqual(await plugins(), ["tag"]);
  });

  test("another site may link to the dashboard, and neither frame it nor lead elsewhere", async () => {
    await start();
    const from = `http://evil.test:${other.address().port}/`;
    page = await open(browser, from);
    const follow = async (path) => {
      await page.goto(from);
      const [answer] = await Promise.all([
        page.waitForNavigation(),
        page.evaluate((to) => location.assign(to), gateway.url + path),
      ]);
      return answer.status();
    };
    assert.equal(await follow(""), 200);
    await page.locator("#plugins tr.row").waitFor();
    assert.equal(await follow("api/status"), 403);
    await page.goto(from);
    const framed = page.waitForResponse(gateway.url);
    await page.evaluate((to) => {
      const frame = document.createElement("iframe");
      frame.src = to;
      document.body.append(frame);
    }, gateway.url);
    assert.equal((await framed).status(), 403);
  });
});
