// What an operator sees of origins: which is sick, why and since when, that it is back; that one is
// drained and restored by a button; and where the requests of a split went.

import assert from "node:assert/strict";
import http from "node:http";
import { after, afterEach, before, describe, test } from "node:test";

import { launch, noComplaints, open } from "./support/browser.js";
import { Gateway } from "./support/gateway.js";

/** An origin that answers with its name, or with 503 while it is sick. */
async function origin(name) {
  const one = { isSick: false, count: 0 };
  one.server = http.createServer((request, response) => {
    if (request.url !== "/healthz") one.count += 1;
    response.statusCode = one.isSick ? 503 : 200;
    response.end(JSON.stringify({ name }));
  });
  await new Promise((done) => one.server.listen(0, "127.0.0.1", done));
  one.url = `http://127.0.0.1:${one.server.address().port}`;
  one.stop = () => {
    one.server.closeAllConnections();
    return new Promise((done) => one.server.close(done));
  };
  return one;
}

describe("targets", { timeout: 120_000 }, () => {
  let [browser, gateway, page, origins, stops] = [];
  before(async () => (browser = await launch()));
  after(() => browser.close());
  afterEach(async () => {
    for (const stop of stops) await stop();
    await page.context().close();
    await gateway.stop();
    for (const each of origins) await each.stop();
    noComplaints(page);
  });

  async function start() {
    origins = [await origin("first"), await origin("second")];
    const [first, second] = origins.map((each) => each.url);
    const check = "healthCheck: {path: /healthz, interval: 200ms, unhealthyAfter: 2, healthyAfter: 2}";
    gateway = await Gateway.start({
      services: [
        "services:",
        `  - {name: shop, basePath: /, targets: ['${first}', '${second}'], ${check}}`,
        "  - name: parted",
        "    basePath: /parted",
        "    split: [{service: most, weight: 3}, {service: rest, weight: 1}]",
        "  - {name: most, internal: true, targets: ['builtin:echo']}",
        "  - {name: rest, internal: true, targets: ['builtin:echo']}",
      ].join("\n"),
    });
    stops = [gateway.traffic("/"), gateway.traffic("/parted")];
    page = await open(browser, gateway.url);
    await row(first).getByText("healthy", { exact: true }).waitFor();
  }

  const row = (url) => page.locator("#target-rows tr").filter({ has: page.getByText(url) });
  const urlAt = (place) =>
    page.locator("#target-rows tr").nth(place).locator("th span").first().textContent();

  test("a sick target is on top, with why and since when, until it is well again", async () => {
    await start();
    const [, second] = origins;
    second.isSick = true;
    const sick = row(second.url);
    await sick.getByText("unhealthy", { exact: true }).waitFor();
    await sick.getByText(/its health checks fail: .*503.*since \d\d:\d\d/).waitFor();
    assert.equal(await urlAt(0), second.url, "the sick one comes first");
    await page.locator("#targets-summary").getByText("1 of 2 are well").waitFor();
    await page.locator("#attention").getByText(`target ${second.url} of shop`).waitFor();
    second.isSick = false;
    await sick.getByText("healthy", { exact: true }).waitFor();
    await page.locator("#targets-summary").getByText("all are well").waitFor();
    await page
      .locator("#attention")
      .getByText(`target ${second.url} of shop`)
      .waitFor({ state: "detached" });
  });

  test("a target is drained by its button, gets nothing, and is restored by it", async () => {
    await start();
    const [first, second] = origins;
    await page.getByRole("button", { name: `Drain ${first.url}` }).click();
    await row(first.url).getByText("drained", { exact: true }).waitFor();
    await row(first.url).getByText(/an operator has drained it, since \d\d:\d\d/).waitFor();
    // What was under way is over.
    await gateway.send("/");
    const [before, others] = [first.count, second.count];
    for (let sent = 0; sent < 20; sent += 1) await gateway.send("/");
    assert.equal(first.count, before);
    assert.ok(second.count >= others + 20);
    await page.getByRole("button", { name: `Restore ${first.url}` }).click();
    await row(first.url).getByText("healthy", { exact: true }).waitFor();
    for (let sent = 0; sent < 20; sent += 1) await gateway.send("/");
    assert.ok(first.count > before);
  });

  test("a split shows what its parts are to get and what they got", async () => {
    await start();
    const service = page
      .locator("#services tr")
      .filter({ has: page.getByText("parted", { exact: true }) });
    await service
      .getByText(/split: most got [\d.]+ % \(weight 75 %\), rest got [\d.]+ % \(weight 25 %\)/)
      .waitFor();
  });
});
