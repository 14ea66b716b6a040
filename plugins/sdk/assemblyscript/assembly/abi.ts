// The border to the gateway: the exported functions, and who owns which memory.
//
// alloc hands the host a buffer outside the collector's reach, for the input and for what host
// functions return. It is the host's, which gives it back with dealloc when it wants a larger one.
// The output lives in the writer's buffer, valid until the next call.

import { error, wholeConfig } from "./host";
import { Answer, Exchange, Request, Response } from "./input";
import { Cursor, Json } from "./json";
import { Result } from "./result";
import * as writer from "./writer";

let readConfig: ((config: Json) => string | null) | null = null;
let decideRequest: ((request: Request) => Result) | null = null;
let decideResponse: ((response: Response) => Result) | null = null;
let mergeAnswers: ((request: Request, answers: Answer[]) => Result) | null = null;
let clean: (() => void) | null = null;

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

/** For the gateway: the end of this instance. */
export function cleanup(): void {
  const cleaner = clean;
  if (cleaner !== null) cleaner();
}

function decide(envelope: Json): Result {
  let context = Json.NONE;
  let input = Json.NONE;
  let config = Json.NONE;
  const cursor = new Cursor(envelope, 0x7b);
  while (cursor.next()) {
    const name = cursor.name;
    if (name == "context") context = cursor.value(envelope);
    else if (name == "input") input = cursor.value(envelope);
    else if (name == "config") config = cursor.value(envelope);
  }
  if (!context.isObject || !input.isObject) {
    return Result.fail("input has no context and input objects");
  }
  const wrong = configure(config);
  if (wrong !== null) return Result.fail("config: " + wrong);
  return dispatch(new Exchange(context, config), input);
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
