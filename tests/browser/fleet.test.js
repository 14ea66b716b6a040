// The panel of a fleet: a real etcd, two nodes, one of which refuses a revision.

import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";

import { launch, noComplaints, open } from "./support/browser.js";
import { Gateway } from "./support/gateway.js";

const root = fileURLToPath(new URL("../../", import.meta.url));
const cli = process.env.ODIN_CLI_BINARY ?? join(root, "target/debug/odin-cli");

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** One member of etcd, in a folder of its own. */
class Etcd {
  static async start(dir) {
    const etcd = new Etcd();
    const [client, peer] = [await freePort(), await freePort()];
    etcd.url = `http://127.0.0.1:${client}`;
    const peers = `http://127.0.0.1:${peer}`;
    const keys = {
      name: "m",
      "data-dir": join(dir, "etcd"),
      "listen-client-urls": etcd.url,
      "advertise-client-urls": etcd.url,
      "listen-peer-urls": peers,
      "initial-advertise-peer-urls": peers,
      "initial-cluster": `m=${peers}`,
      "log-level": "error",
    };
    const words = Object.entries(keys).flatMap(([key, value]) => [`--${key}`, value]);
    etcd.child = spawn("etcd", words, { stdio: "ignore" });
    process.on("exit", () => etcd.child.kill("SIGKILL"));
    for (;;) {
      const health = await fetch(`${etcd.url}/health`).then((answer) => answer.text(), () => "");
      if (health.includes("true")) return etcd;
      await new Promise((later) => setTimeout(later, 50));
    }
  }

  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
  }
}

describe("the panel of a fleet", { timeout: 120_000 }, () => {
  let [browser, dir, etcd, nodes, page] = [];
  before(async () => {
    browser = await launch();
    dir = await mkdtemp(join(tmpdir(), "odin-browser-fleet-"));
    etcd = await Etcd.start(dir);
    await push("one");
    nodes = [];
    for (const node of ["a", "b"]) {
      const fleet = `fleet: {node: ${node}, cacheDir: ${dir}/${node}, etcd: {endpoints: ['${etcd.url}']}}`;
      // Only one of both has what the second revision needs.
      const env = node === "a" ? { ONLY_HERE: "two" } : {};
      nodes.push(await Gateway.start({ fleet, env }));
    }
    page = await open(browser, nodes[0].url);
  });
  after(async () => {
    await page.context().close();
    for (const node of nodes) await node.stop();
    await etcd.stop();
    await browser.close();
    await rm(dir, { recursive: true });
    noComplaints(page);
  });

  async function push(word) {
    const file = join(dir, "document.yaml");
    const service = `{name: all, basePath: /, targets: ['builtin:echo'], headers: {X-Word: '${word}'}}`;
    await writeFile(file, `services:\n  - ${service}\n`);
    const words = ["fleet", "--etcd", etcd.url, "push", "--no-wait", file];
    const pushed = spawnSync(cli, words, { encoding: "utf8" });
    assert.match(pushed.stdout, /revision \d+/, pushed.stderr);
  }

  const summary = (text) => page.locator("#fleet-summary").getByText(text).waitFor();
  const row = (node) =>
    page.locator("#fleet-rows tr").filter({ has: page.getByText(node, { exact: true }) });

  test("it tells which node runs which revision, and which one refused it and why", async () => {
    await summary("2 of 2 nodes run revision 1");
    await page.locator("#fleet-node").getByText("this is a").waitFor();
    await push("${ONLY_HERE}");
    await summary("1 of 2 nodes run revision 2");
    await row("b").getByText("refused 2").waitFor();
    await row("b").getByText("environment variable ONLY_HERE is not set").waitFor();
    await row("a").getByText("ready").waitFor();
    // Who lags behind is on top.
    const first = page.locator("#fleet-rows tr").first();
    await first.getByText("b", { exact: true }).waitFor();
    await push("three");
    await summary("2 of 2 nodes run revision 3");
    assert.equal(await page.locator("#fleet-rows").getByText("refused").count(), 0);
  });

  test("it says that etcd is away, and what goes on", async () => {
    await summary(/2 of 2 nodes run revision \d/);
    await etcd.stop();
    await page.locator("#attention").getByText("fleet: etcd is not reached").waitFor();
    await page.locator("#attention").getByText("goes on, the last good one").waitFor();
  });
});
