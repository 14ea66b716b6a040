// The border to the gateway: the exported functions, and who owns which memory.
//
// alloc hands the host a buffer outside the collector's reach, for the input and for what host
// functions return. It is the host's, which gives it back with dealloc when it wants a larger one.
// The output lives in the writer's buffer, valid until the next call.

import { error, wholeConfig } from "./host";
import { Answer, Exchange, Request, Response } from "./input";
import { Cursor, Json } from "./json";
import { Body, Failed, close, give, keep } from "./pieces";
import { Result } from "./result";
import * as writer from "./writer";

let readConfig: ((config: Json) => string | null) | null = null;
let decideRequest: ((request: Request) => Result) | null = null;
let decideResponse: ((response: Response) => Result) | null = null;
let mergeAnswers: ((request: Request, answers: Answer[]) => Result) | null = null;
let clean: (() => void) | null = null;
let openRequest: ((request: Request) => Body | null) | null = null;
let openResponse: ((response: Response) => Body | null) | null = null;

/** Registers what reads the plugin's configuration when an instance starts, before its first call.
 * Returns what is wrong with it, or null. A wrong one is refused: the gateway does not take it in a
 * reload, and where it has nothing else, the plugin's failureMode decides every request. (For that
 * the plugin exports `init`.) */
export function onConfig(read: (config: Json) => string | null): void {
  readConfig = read;
}

/** Registers the request phase. */
export function onRequest(decide: (request: Request) => Result): void {
  decideRequest = decide;
}

/** Registers the response phase. */
export function onResponse(decide: (response: Response) => Result): void {
  decideResponse = decide;
}

/** Registers what makes one response of the answers of an aggregation's calls. */
export function onAnswers(merge: (request: Request, answers: Answer[]) => Result): void {
  mergeAnswers = merge;
}

/** Registers what opens the bodies of requests; null lets one pass as it is. The plugin must then
 * export `on_stream_open`, `on_request_chunk` and `on_stream_close`. */
export function onRequestBody(open: (request: Request) => Body | null): void {
  openRequest = open;
}

/** Registers what opens the bodies of responses; null lets one pass as it is. The plugin must then
 * export `on_stream_open`, `on_response_chunk` and `on_stream_close`. */
export function onResponseBody(open: (response: Response) => Body | null): void {
  openResponse = open;
}

/** Registers what is done before an instance is dropped; the plugin must then export `cleanup`. */
export function onCleanup(cleaner: () => void): void {
  clean = cleaner;
}

/** For the gateway: memory for what it hands over. */
export function alloc(size: usize): usize {
  return heap.alloc(size);
}

/** For the gateway: memory that it needs no longer. */
export function dealloc(address: usize, _: usize): void {
  heap.free(address);
}

/** For the gateway: an instance starts. What is wrong with its configuration ends it, so that a
 * gateway refuses it when it is loaded. (One that does not tell it here tells it with the first
 * call.) */
export function init(): void {
  const packed = wholeConfig();
  const address = <usize>(packed & 0xffffffff);
  if (address == 0) return;
  const wrong = configure(new Json(address, address + <usize>(packed >> 32)));
  if (wrong === null) return;
  error("config: " + wrong);
  unreachable();
}

/** For the gateway: one call. */
export function execute(address: usize, size: usize): u64 {
  decide(new Json(address, address + size)).write();
  // Nothing of a call outlives it but what hangs on globals, and no managed reference is on the
  // stack here: the one moment at which the minimal runtime may collect.
  __collect();
  return writer.packed();
}

/** For the gateway: a body begins to come. */
export function on_stream_open(id: u32, address: usize, size: usize): void {
  openBody(id, new Json(address, address + size));
  __collect();
}

/** For the gateway: a piece of a request's body. */
export function on_request_chunk(id: u32, address: usize, size: usize, flags: u32): u64 {
  return give(id, false, address, size, flags);
}

/** For the gateway: a piece of a response's body. */
export function on_response_chunk(id: u32, address: usize, size: usize, flags: u32): u64 {
  return give(id, true, address, size, flags);
}

/** For the gateway: an exchange is over. */
export function on_stream_close(id: u32): void {
  close(id);
}

/** For the gateway: the end of this instance. */
export function cleanup(): void {
  const cleaner = clean;
  if (cleaner !== null) cleaner();
}

class Envelope {
  context: Json = Json.NONE;
  input: Json = Json.NONE;
  config: Json = Json.NONE;

  constructor(text: Json) {
    const cursor = new Cursor(text, 0x7b);
    while (cursor.next()) {
      const name = cursor.name;
      if (name == "context") this.context = cursor.value(text);
      else if (name == "input") this.input = cursor.value(text);
      else if (name == "config") this.config = cursor.value(text);
    }
  }

  /** What is wrong with it, or null. */
  wrong(): string | null {
    if (!this.context.isObject || !this.input.isObject) {
      return "input has no context and input objects";
    }
    const wrong = configure(this.config);
    return wrong === null ? null : "config: " + wrong;
  }
}

function decide(text: Json): Result {
  const envelope = new Envelope(text);
  const wrong = envelope.wrong();
  if (wrong !== null) return Result.fail(wrong);
  return dispatch(new Exchange(envelope.context, envelope.config), envelope.input);
}

function openBody(id: u32, text: Json): void {
  const envelope = new Envelope(text);
  const exchange = new Exchange(envelope.context, envelope.config);
  const isResponse = exchange.isResponsePhase;
  const wrong = envelope.wrong();
  let body: Body | null = null;
  if (wrong !== null) {
    body = new Failed(wrong);
  } else if (isResponse) {
    const open = openResponse;
    if (open !== null) body = open(new Response(exchange, envelope.input));
  } else {
    const open = openRequest;
    if (open !== null) body = open(new Request(exchange, envelope.input));
  }
  if (body !== null) keep(id, isResponse, body);
}

// The configuration that was last read, in memory of its own, and what came of it.
let configStart: usize = 0;
let configSize: usize = 0;
let configError: string | null = null;

function configure(config: Json): string | null {
  const read = readConfig;
  const size = config.end - config.start;
  const isKnown = configStart != 0 && configSize == size &&
    memory.compare(configStart, config.start, size) == 0;
  if (read === null || isKnown) return configError;
  if (configStart != 0) heap.free(configStart);
  configStart = heap.alloc(size);
  configSize = size;
  memory.copy(configStart, config.start, size);
  configError = read(new Json(configStart, configStart + size));
  return configError;
}

function dispatch(exchange: Exchange, input: Json): Result {
  if (exchange.isResponsePhase) {
    const decide = decideResponse;
    return decide === null ? Result.next() : decide(new Response(exchange, input));
  }
  if (exchange.isAggregation) {
    const merge = mergeAnswers;
    if (merge === null) {
      return Result.fail("this plugin does not aggregate (it registers no onAnswers)");
    }
    return merge(new Request(exchange, input), answersOf(input.get("responses")));
  }
  const decide = decideRequest;
  return decide === null ? Result.next() : decide(new Request(exchange, input));
}

function answersOf(value: Json): Answer[] {
  const items = value.items();
  const answers: Answer[] = [];
  for (let i = 0; i < items.length; i++) answers.push(new Answer(items[i]));
  return answers;
}
