// The gateway as a process, with a folder of its own and ports that the kernel picks.

import { spawn } from "node:child_process";
import { mkdtemp, mkdir, rename, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const binary = process.env.ODIN_BINARY ?? join(root, "target/debug/odin");

/** Lines of the configuration; `plugins` is `{name: {module, keys}}`, `fleet` the section of a node. */
function configuration(options, dir) {
  const own = [
    "server: {listen: '127.0.0.1:0', workers: 2, pinCores: false, drainTimeout: 1s}",
    `admin: {listen: '127.0.0.1:0'${options.token ? `, token: ${options.token}` : ""}}`,
    "logging: {level: info}",
  ];
  if (options.fleet) return [...own, options.fleet, ""].join("\n");
  const plugins = Object.entries(options.plugins ?? {}).map(
    ([name, { keys = "type: request" }]) => `    - {name: ${name}, path: ${name}.wasm, ${keys}}`,
  );
  return [
    ...own,
    `wasm:\n  pluginDir: ${dir}/plugins\n  cacheEnabled: false\n  maxInstances: 4`,
    ...(plugins.length ? ["  plugins:", ...plugins] : []),
    options.services ?? "services:\n  - {name: all, basePath: /, targets: ['builtin:echo']}",
    "",
  ].join("\n");
}

export class Gateway {
  /** Starts one and waits until it listens. */
  static async start(options = {}) {
    const gateway = new Gateway();
    gateway.dir = await mkdtemp(join(tmpdir(), "odin-browser-"));
    await mkdir(join(gateway.dir, "plugins"));
    for (const [name, { module }] of Object.entries(options.plugins ?? {})) {
      if (module) await gateway.put(`plugins/${name}.wasm`, module);
    }
    gateway.config = configuration(options, gateway.dir);
    const file = await gateway.put("odin.yaml", gateway.config);
    const env = { ...process.env, ...options.env };
    gateway.child = spawn(binary, ["--config", file], { stdio: ["ignore", "pipe", "pipe"], env });
    gateway.log = "";
    process.on("exit", () => gateway.child.kill("SIGKILL"));
    await new Promise((ready, failed) => {
      const collect = (bytes) => {
        gateway.log += bytes.toString().replaceAll(/\x1b\[[0-9;]*m/g, "");
        gateway.admin = /admin on (\S+)/.exec(gateway.log)?.[1];
        gateway.address = /listening on (\S+)/.exec(gateway.log)?.[1];
        if (gateway.admin && gateway.address) ready();
      };
      gateway.child.stdout.on("data", collect);
      gateway.child.stderr.on("data", collect);
      gateway.child.on("error", failed);
      gateway.child.on("exit", () => failed(new Error(`the gateway ended:\n${gateway.log}`)));
    });
    gateway.url = `http://${gateway.admin}/`;
    return gateway;
  }

  /** Writes a file of its folder, whole. */
  async put(name, content) {
    const path = join(this.dir, name);
    await writeFile(`${path}.new`, content);
    await rename(`${path}.new`, path);
    return path;
  }

  /** Sends a request through it; what the origin saw comes back. */
  async send(path = "/") {
    const response = await this.#fetch(this.address, "GET", path);
    return JSON.parse(response.text);
  }

  async tag() {
    return (await this.send()).headers["X-Tag"]?.[0] ?? "none";
  }

  /** Calls the admin API, as no browser. */
  async call(method, path, { token, body, headers } = {}) {
    const shown = token ? { Authorization: `Bearer ${token}` } : {};
    const response = await this.#fetch(this.admin, method, path, { ...shown, ...headers }, body);
    return { status: response.status, headers: response.headers, body: JSON.parse(response.text) };
  }

  #fetch(address, method, path, headers = {}, body) {
    const [host, port] = address.split(":");
    return new Promise((done, failed) => {
      const options = { host, port, method, path, headers, agent: this.agent };
      const request = http.request(options, (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (piece) => (text += piece));
        response.on("end", () =>
          done({ status: response.statusCode, headers: response.headers, text }),
        );
      });
      request.on("error", failed);
      request.end(body);
    });
  }

  agent = new http.Agent({ keepAlive: true });

  /** Sends requests one after the other until the given function is called. */
  traffic(path = "/", pauseMs = 20) {
    let goesOn = true;
    const sent = (async () => {
      while (goesOn) {
        await this.send(path).catch(() => {});
        await new Promise((done) => setTimeout(done, pauseMs));
      }
    })();
    return async () => {
      goesOn = false;
      await sent;
    };
  }

  async stop() {
    this.agent.destroy();
    if (this.child.exitCode === null) {
      this.child.removeAllListeners("exit");
      const ended = new Promise((done) => this.child.on("exit", done));
      this.child.kill("SIGTERM");
      await ended;
    }
    await rm(this.dir, { recursive: true, force: true });
  }
}
