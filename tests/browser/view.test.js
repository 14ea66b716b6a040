// What is shown: the slow plugin on top, nothing as markup, readable on a phone, in the dark and
// without a mouse.

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";

import { contrasts, launch, noComplaints, open } from "./support/browser.js";
import { Gateway } from "./support/gateway.js";
import { answering, tagging } from "./support/wasm.js";

const MARKUP = "<img src=x onerror=alert(1)>";
const SERVICES = [
  "services:",
  "  - {name: gone, basePath: /gone, targets: ['http://127.0.0.1:9']}",
  "  - {name: all, basePath: /, targets: ['builtin:echo']}",
].join("\n");

describe("the view", { timeout: 120_000 }, () => {
  let [browser, gateway, page, stops] = [];
  before(async () => (browser = await launch()));
  after(() => browser.close());
  afterEach(async () => {
    for (const stop of stops) await stop();
    await page.context().close();
    await gateway.stop();
    noComplaints(page);
  });

  /** Traffic through a fast, a slow and a failing plugin; a disabled and a missing one beside. */
  async function start(options = {}) {
    gateway = await Gateway.start({
      plugins: {
        "a-fast-one": { module: tagging("fast") },
        "in-between": {
          module: tagging("slow", 2_000_000),
          keys: "type: request, allowedUrls: ['^/slow']",
        },
        "not-json": { module: answering("no"), keys: "type: response, allowedUrls: ['^/slow']" },
        ["x".repeat(128)]: { module: tagging("long"), keys: "type: response, enabled: false" },
        "zz-missing": { keys: "type: request" },
      },
      services: SERVICES,
    });
    stops = [gateway.traffic("/"), gateway.traffic("/slow"), gateway.traffic("/gone")];
    page = await open(browser, gateway.url, options);
  }

  const firstRow = (name) =>
    page.waitForFunction(
      (name) => document.querySelector("#plugins tr.row .name span")?.textContent === name,
      name,
    );

  test("the slow plugin is on top and two clicks tell how slow", async () => {
    await start();
    await firstRow("in-between");
    await page.waitForFunction(
      () => document.querySelector("#slowest").textContent === "in-between",
    );
    await page.locator("#plugins tr.row .name").first().click();
    const verdict = page.locator(".verdict");
    await verdict
      .getByText(/99 % at most [\d.]+ ms\. It takes \d+ % of the time of all requests/)
      .waitFor();
    await page.locator("#plugins tr.row .name").first().click();
    assert.equal(await verdict.count(), 0, "a second click closes it");
  });

  test("figures move with the traffic", async () => {
    await start();
    await page.waitForFunction(
      () => Number.parseFloat(document.querySelector("#rate").textContent) > 0,
    );
    for (const id of ["p50", "p99"]) {
      await page.waitForFunction(
        (id) => /^[\d.,]+ (µs|ms|s)$/.test(document.getElementById(id).textContent),
        id,
      );
    }
    assert.equal(await page.locator("#workers li").count(), 2);
    assert.match(await page.locator("#curve").getAttribute("aria-label"), /50 % [\d.]+ (µs|ms), /);
    assert.match(await page.locator("#map").getAttribute("aria-label"), /now p50 [\d.]+ (µs|ms)/);
    await page.locator("#recent").getByText("plugin not-json: bad output").waitFor();
    await page.locator("#recent").getByText("service gone: answered 5xx").waitFor();
    await page.locator("#attention").getByText("plugin zz-missing").waitFor();
    await page.locator("#state").getByText("degraded").waitFor();
    await page.check("#window [value=all]");
    const calls = await page.locator("#p50-note").textContent();
    assert.match(calls, /^[\d,]+ requests?$/);
  });

  test("what the gateway refuses itself is among the recent errors, unknown paths too", async () => {
    const services = "services: [{name: one, basePath: /one, targets: ['builtin:echo']}]";
    gateway = await Gateway.start({ plugins: {}, services });
    stops = [gateway.traffic("/nowhere"), gateway.traffic("/one/%zz")];
    page = await open(browser, gateway.url, {});
    await page.locator("#recent").getByText("request refused: no service for its path").waitFor();
    await page.locator("#recent").getByText("request refused: malformed or ambiguous").waitFor();
  });

  test("how tries at a service's origins ended is shown beside them", async () => {
    await start();
    await page.locator("#recent").getByText("service gone: answered 5xx").waitFor();
    const { body } = await fetch(`${gateway.url}api/events`);
    let event = "";
    for await (const piece of body.pipeThrough(new TextDecoderStream())) {
      event += piece;
      if (event.includes("\n\n")) break;
    }
    const document = JSON.parse(event.split("\n\n")[0].slice("data: ".length));
    // One document each time that the page connects, later and with more counted than before.
    let times = 0;
    await page.route("**/api/events", (route) => {
      times += 1;
      document.atMs += 1000;
      document.status.uptimeMs += 1000;
      for (const service of document.status.services) {
        service.upstream = {
          requests: {
            "2xx": service.name === "all" ? 5 * times : 0,
            failed: service.name === "gone" ? 3 * times : 0,
          },
          errors: { connect_failed: service.name === "gone" ? 3 * times : 0, upstream_timeout: 0 },
          retries: 0,
          connections: { open: 4, idle: 3 },
        };
      }
      const body = `data: ${JSON.stringify(document)}\n\n`;
      return route.fulfill({ contentType: "text/event-stream", body });
    });
    await page.reload();
    const shown = (name) =>
      page.locator("#services tr").filter({ has: page.getByText(name, { exact: true }) });
    await shown("gone").getByText("down", { exact: true }).waitFor();
    await shown("gone")
      .getByText(/^\d+ of \d+ tries failed · \d+ × connect failed · 4 connections, 3 idle$/)
      .waitFor();
    await shown("/").getByText("answers", { exact: true }).waitFor();
    await shown("/")
      .getByText(/^\d+ tries, none failed/)
      .waitFor();
    await page.locator("#recent").getByText("service gone: upstream: connect failed").waitFor();
  });

  test("a column's head sorts by it, and once more turns the order", async () => {
    await start();
    await firstRow("in-between");
    const head = page.locator("th[data-key=name]");
    await head.getByRole("button").click();
    await firstRow("a-fast-one");
    assert.equal(await head.getAttribute("aria-sort"), "ascending");
    await head.getByRole("button").click();
    await firstRow("zz-missing");
  });

  test("markup in paths, configurations and errors is shown as text", async () => {
    await start();
    await gateway.put(`plugins/${MARKUP}.wasm`, tagging("x"));
    const body = JSON.stringify({
      name: "odd",
      path: `${MARKUP}.wasm`,
      config: { note: MARKUP },
      allowedUrls: [MARKUP],
    });
    assert.equal((await gateway.call("POST", "/api/plugins/load", { body })).status, 200);
    await page.locator("#plugins").getByText("odd", { exact: true }).click();
    await page.locator(".config").getByText(MARKUP).waitFor();
    await page.locator(".details").getByText(`${MARKUP}.wasm`).waitFor();
    await page.click("#open-load");
    await page.fill("#load-form [name=name]", "other");
    await page.fill("#load-form [name=path]", `${MARKUP}-gone.wasm`);
    await page.click("#load-form .main");
    await page.locator("#load-dialog .problem").getByText(MARKUP).waitFor();
    await page.click("#load-form [data-close]");
    await page.locator("#reloads .reason").getByText(MARKUP).waitFor();
    assert.equal(await page.locator("img").count(), 0);
  });

  test("the browser lets no script make markup or run text", async () => {
    await start();
    const refused = await page.evaluate(() => {
      const script = document.createElement("script");
      const tries = [
        () => (document.body.innerHTML = "<b>x</b>"),
        () => document.body.insertAdjacentHTML("beforeend", "<b>x</b>"),
        () => (script.text = "document.title = 'ran'"),
        () => trustedTypes.createPolicy("own", { createHTML: (text) => text }),
      ];
      const isRefused = (attempt) => {
        try {
          attempt();
          return false;
        } catch {
          return true;
        }
      };
      return tries.map(isRefused);
    });
    assert.deepEqual(refused, [true, true, true, true]);
    assert.equal(page.complaints.length, refused.length);
    page.complaints.length = 0;
  });

  for (const width of [320, 390]) {
    test(`nothing is wider than a phone of ${width} pixels`, async () => {
      await start({ viewport: { width, height: 800 }, isMobile: true, hasTouch: true });
      await firstRow("in-between");
      const fits = () =>
        page.evaluate(
          () =>
            document.documentElement.scrollWidth <= window.innerWidth &&
            window.innerWidth === window.screen.width,
        );
      assert.ok(await fits());
      for (const name of ["in-between", "x".repeat(128)]) {
        await page.locator("#plugins").getByText(name, { exact: true }).tap();
      }
      assert.equal(await page.locator(".details").count(), 2);
      assert.ok(await fits(), "with details");
      await page.locator(".details").getByRole("button", { name: "Disable in-between" }).tap();
      await page.locator("#notices").getByText("Plugin in-between disabled.").waitFor();
      assert.ok(await fits(), "with a notice");
      await page.locator("#open-load").tap();
      const dialog = await page.locator("#load-dialog").boundingBox();
      assert.ok(dialog.x >= 0 && dialog.x + dialog.width <= width, "the dialog");
    });
  }

  for (const colorScheme of ["light", "dark"]) {
    test(`every text stands out from its ground when it is ${colorScheme}`, async () => {
      await start({ colorScheme });
      await firstRow("in-between");
      await page.locator("#plugins tr.row .name").first().click();
      await page.locator("#recent").getByText("bad output").waitFor();
      const { ground, seen, weak } = await contrasts(page, 4.5);
      assert.ok(
        colorScheme === "dark" ? ground < 0.05 : ground > 0.8,
        `the ground's luminance is ${ground}`,
      );
      assert.ok(seen > 80, `${seen} texts`);
      assert.deepEqual(weak, []);
    });
  }

  test("everything can be done with the keyboard, and focus stays where it was put", async () => {
    await start();
    await firstRow("in-between");
    const focused = () =>
      page.evaluate(
        () =>
          document.activeElement.getAttribute("aria-label") ??
          document.activeElement.textContent.trim(),
      );
    const tabTo = async (words) => {
      for (let pressed = 0; pressed < 60; pressed += 1) {
        await page.keyboard.press("Tab");
        if (words.test(await focused())) return;
      }
      assert.fail(`Tab does not lead to ${words}`);
    };
    await tabTo(/^in-between/);
    const outline = await page.evaluate(
      () => getComputedStyle(document.activeElement).outlineStyle,
    );
    assert.equal(outline, "solid", "focus is seen");
    await page.keyboard.press("Enter");
    await page.locator(".verdict").waitFor();
    await tabTo(/^Unload in-between/);
    await page.keyboard.press("Enter");
    await page.locator("#unload-dialog").waitFor();
    await page.keyboard.press("Escape");
    assert.match(await focused(), /^Unload in-between/, "a closed dialog gives focus back");
    await page.keyboard.press("Shift+Tab");
    await page.keyboard.press("Shift+Tab");
    assert.match(await focused(), /^Disable in-between/);
    await page.keyboard.press("Space");
    await page.locator("#notices").getByText("Plugin in-between disabled.").waitFor();
    // Two more documents have come and changed the table.
    const uptime = await page.locator("#facts").textContent();
    await page.waitForFunction(
      (was) => document.querySelector("#facts").textContent !== was,
      uptime,
    );
    assert.match(
      await focused(),
      /^Enable in-between/,
      "the same button, after the table has changed",
    );
    await page.keyboard.press("Space");
    await page.locator("#notices").getByText("Plugin in-between enabled.").waitFor();
  });

  test("a gateway that is gone is said to be, and one that comes back is shown", async () => {
    await start();
    await page.locator("#state").getByText("degraded").waitFor();
    gateway.child.kill("SIGSTOP");
    await page.locator("#state").getByText("cannot be reached").waitFor();
    gateway.child.kill("SIGCONT");
    await page.locator("#state").getByText("degraded").waitFor();
  });
});
