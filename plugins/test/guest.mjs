// Runs a plugin in Node's WebAssembly, with just enough of a host around it: what a guest needs to
// be tested before, and independently of, the gateway that runs it in production.
//
// The host here is strict where the gateway is: it hands the input over in the guest's own `alloc`
// buffer, and reads the output at once.

import { readFileSync } from "node:fs";

const LEVELS = ["trace", "debug", "info", "warn", "error"];
const WASI_EBADF = 8;
const WASI_ENOSYS = 52;

/** One instance of the module at `path`, with `config` as its configuration. */
export class Guest {
  static load(path, config = {}, host = {}) {
    return new Guest(new WebAssembly.Module(readFileSync(path)), config, host);
  }

  constructor(module, config, host) {
    this.config = config;
    this.host = {
      now: 1_700_000_000,
      kv: new Map(),
      kvIsDown: false,
      files: {},
      http: () => ({ statusCode: 0, error: "no network" }),
      ...host,
    };
    this.logs = [];
    this.metrics = {};
    this.calls = [];
    this.instance = new WebAssembly.Instance(module, {
      env: only(module, "env", this.#env()),
      wasi_snapshot_preview1: only(module, "wasi_snapshot_preview1", this.#wasi()),
    });
    const { _initialize, _start, init } = this.instance.exports;
    if (_initialize) _initialize();
    else if (_start) ignoringExit(_start);
    init?.();
  }

  get memoryBytes() {
    return this.instance.exports.memory.buffer.byteLength;
  }

  /** One call with this input; the output parsed. */
  call(input, entry = "execute") {
    const bytes = Buffer.from(typeof input === "string" ? input : JSON.stringify(input));
    return JSON.parse(this.callBytes(bytes, entry));
  }

  /** One call, bytes in and text out. */
  callBytes(bytes, entry = "execute") {
    const { memory, alloc = this.instance.exports.malloc, dealloc } = this.instance.exports;
    if (!this.buffer || this.buffer.size < bytes.length) {
      if (this.buffer) dealloc?.(this.buffer.address, this.buffer.size);
      const size = Math.max(4096, 2 * bytes.length);
      this.buffer = { address: alloc(size) >>> 0, size };
    }
    new Uint8Array(memory.buffer).set(bytes, this.buffer.address);
    const packed = BigInt.asUintN(
      64,
      this.instance.exports[entry](this.buffer.address, bytes.length),
    );
    return this.#text(Number(packed & 0xffffffffn), Number(packed >> 32n));
  }

  /** A call in the request phase. */
  request(input = {}, context = {}) {
    const { url = "http://host/api/users", ...rest } = input;
    const request = { method: "GET", url, headers: {}, ...target(url), body: "", ...rest };
    return this.call(this.envelope("request", request, context), context.entry);
  }

  /** A call in the response phase. */
  response(input = {}, context = {}) {
    const request = { method: "GET", url: "http://host/api/users", headers: {}, ...input.request };
    const asked = { method: request.method, url: request.url, ...target(request.url) };
    const response = { statusCode: 200, headers: {}, body: "", ...input };
    response.request = { ...asked, ...request };
    return this.call(this.envelope("response", { ...asked, ...response }, context));
  }

  envelope(phase, input, { entry, ...context } = {}) {
    return {
      context: {
        requestId: "test-1",
        serviceId: "users-service",
        routePath: "/api/users",
        timestamp: "2024-01-01T00:00:00Z",
        phase,
        plugin: "under-test",
        clientIp: "192.0.2.1",
        config: this.config,
        metadata: {},
        ...context,
      },
      input,
      config: this.config,
    };
  }

  /** A call of an aggregation plugin. */
  answers(responses, request = {}, context = {}) {
    const input = {
      method: "GET",
      url: "http://host/api/users",
      headers: {},
      ...request,
      responses,
    };
    Object.assign(input, { ...target(input.url), ...input });
    return this.call(this.envelope("aggregation", input, context));
  }

  #text(address, size) {
    return Buffer.from(this.instance.exports.memory.buffer, address, size).toString();
  }

  /** Puts bytes into the host's own buffer in the guest; the packed address and size, 0 for none. */
  #give(bytes) {
    if (bytes === undefined || bytes === null) return 0n;
    const data = Buffer.from(bytes);
    const { alloc, dealloc, memory } = this.instance.exports;
    if (!this.reply || this.reply.size < data.length) {
      if (this.reply) dealloc?.(this.reply.address, this.reply.size);
      const size = Math.max(1024, 2 * data.length);
      this.reply = { address: alloc(size) >>> 0, size };
    }
    // What the last result left behind must not be of use.
    const place = new Uint8Array(memory.buffer, this.reply.address, this.reply.size);
    place.fill(0x21);
    place.set(data);
    return BigInt.asIntN(64, (BigInt(data.length) << 32n) | BigInt(this.reply.address));
  }

  #env() {
    const { host } = this;
    const lookUp = (key) => key.split(".").reduce((value, part) => value?.[part], this.config);
    return {
      // With a level and without.
      log: (...args) => {
        const [address, size] = args.slice(-2);
        this.logs.push({
          level: LEVELS[args.length === 3 ? args[0] : 2],
          text: this.#text(address, size),
        });
      },
      get_time: () => BigInt(Math.floor(host.now)),
      get_time_ms: () => BigInt(Math.floor(host.now * 1000)),
      get_config: (address, size) => {
        const value = lookUp(this.#text(address, size));
        if (value === undefined) return 0n;
        return this.#give(typeof value === "string" ? value : JSON.stringify(value));
      },
      read_file: (address, size) => this.#give(host.files[this.#text(address, size)]),
      http_call: (address, size) => {
        const request = JSON.parse(this.#text(address, size));
        this.calls.push(request);
        return this.#give(JSON.stringify(host.http(request)));
      },
      metric_increment: (address, size, by) => this.#count(this.#text(address, size), by),
      metric_record: (address, size, value) => this.#count(this.#text(address, size), value),
      ...this.#kv(),
      abort: (message, file, line, column) => {
        throw new Error(`abort: ${this.#utf16(message)} (${this.#utf16(file)}:${line}:${column})`);
      },
    };
  }

  #count(metric, by) {
    this.metrics[metric] = (this.metrics[metric] ?? 0) + Number(by);
  }

  /** The shared state: a map that instances can be given in common. */
  #kv() {
    const { host } = this;
    const live = (key) => {
      const entry = host.kv.get(key);
      if (entry && entry.expires <= host.now) host.kv.delete(key);
      return host.kv.get(key)?.value;
    };
    const put = (key, value, ttlMs) => {
      host.kv.set(key, { value, expires: ttlMs > 0n ? host.now + Number(ttlMs) / 1000 : Infinity });
    };
    const down =
      (result, work) =>
      (...args) =>
        host.kvIsDown ? result : work(...args);
    const text = (address, size) => this.#text(address, size);
    return {
      kv_get: down(-4n, (address, size) => this.#give(live(text(address, size)))),
      kv_set: down(-4, (key, keySize, value, valueSize, ttlMs) => {
        put(text(key, keySize), text(value, valueSize), ttlMs);
        return 0;
      }),
      kv_incr: down(-(2n ** 63n), (address, size, by, ttlMs) => {
        const key = text(address, size);
        const before = live(key);
        const sum = BigInt(before ?? 0) + by;
        if (before === undefined) put(key, String(sum), ttlMs);
        else host.kv.get(key).value = String(sum);
        return sum;
      }),
      kv_delete: down(-4, (address, size) => {
        const key = text(address, size);
        const wasThere = live(key) !== undefined;
        host.kv.delete(key);
        return wasThere ? 1 : 0;
      }),
      kv_cas: down(-4, (key, keySize, old, oldSize, value, valueSize, ttlMs) => {
        const name = text(key, keySize);
        const expected = oldSize === -1 ? undefined : text(old, oldSize);
        if (live(name) !== expected) return 0;
        put(name, text(value, valueSize), ttlMs);
        return 1;
      }),
    };
  }

  #utf16(address) {
    if (!address) return "";
    const view = new DataView(this.instance.exports.memory.buffer);
    const size = view.getUint32(address - 4, true);
    return Buffer.from(view.buffer, address, size).toString("utf16le");
  }

  #wasi() {
    const view = () => new DataView(this.instance.exports.memory.buffer);
    const none = (count, size) => {
      view().setUint32(count, 0, true);
      view().setUint32(size, 0, true);
      return 0;
    };
    return {
      args_sizes_get: none,
      environ_sizes_get: none,
      args_get: () => 0,
      environ_get: () => 0,
      clock_time_get: (_id, _precision, out) => {
        view().setBigUint64(out, BigInt(Math.round(this.host.now * 1e9)), true);
        return 0;
      },
      random_get: (address, size) => {
        globalThis.crypto.getRandomValues(new Uint8Array(view().buffer, address, size));
        return 0;
      },
      fd_write: (fd, vectors, count, written) => {
        let total = 0;
        for (let i = 0; i < count; i++) {
          const address = view().getUint32(vectors + 8 * i, true);
          const size = view().getUint32(vectors + 8 * i + 4, true);
          this.logs.push({ level: fd === 1 ? "info" : "error", text: this.#text(address, size) });
          total += size;
        }
        view().setUint32(written, total, true);
        return 0;
      },
      // No preopened directories: Go's start-up asks until it is told "bad file descriptor".
      fd_prestat_get: () => WASI_EBADF,
      // Nobody waits here: a sleep is over at once.
      poll_oneoff: (_in, _out, _count, events) => (view().setUint32(events, 1, true), 0),
      sched_yield: () => 0,
      proc_exit: (code) => {
        throw new Exit(code);
      },
    };
  }
}

class Exit extends Error {
  constructor(code) {
    super(`the module exited with ${code}`);
    this.code = code;
  }
}

function ignoringExit(start) {
  try {
    start();
  } catch (cause) {
    if (!(cause instanceof Exit) || cause.code !== 0) throw cause;
  }
}

/** The imports that the module asks for; WASI's unknown ones answer an errno. */
function only(module, from, known) {
  const wanted = WebAssembly.Module.imports(module).filter((entry) => entry.module === from);
  return Object.fromEntries(
    wanted.map(({ name }) => {
      if (known[name]) return [name, known[name]];
      if (from === "env") throw new Error(`the module imports env.${name}, which no host offers`);
      return [name, () => WASI_ENOSYS];
    }),
  );
}

/** The parts of a URL that a gateway gives beside it, in every phase. */
function target(url) {
  const { pathname: path, searchParams } = new URL(url, "http://host");
  const query = {};
  for (const [name, value] of searchParams) (query[name] ??= []).push(value);
  return { path, query };
}
