// Bodies that pass a plugin piece by piece (body: stream) or event by event (body: events).
//
// A Body is the state of one message's body. The exchanges of a worker are interleaved in one
// instance: what belongs to one of them stands there and nowhere else.

import { Result } from "./result";
import * as writer from "./writer";

const enum Action { Pass, Replace, Hold, End, Cut, Answer, Fail }

/** A piece of a body, valid until the function returns. Of the last piece there may be no bytes. */
export class Chunk {
  constructor(
    private address: usize,
    /** How many bytes it has. */
    public size: i32,
    /** Nothing comes behind it. */
    public isEnd: bool,
    /** It is one whole server-sent event. */
    public isEvent: bool,
  ) {}

  /** A copy of its bytes. */
  get bytes(): Uint8Array {
    const copy = new Uint8Array(this.size);
    memory.copy(copy.dataStart, this.address, this.size);
    return copy;
  }

  /** Its bytes as UTF-8. A character may be cut by the border of two pieces. */
  get text(): string {
    return String.UTF8.decodeUnsafe(this.address, this.size);
  }
}

/** What becomes of a piece. */
export class Passed {
  private constructor(private action: Action, private output: Uint8Array | null = null) {}

  /** The piece goes on as it is: the cheapest. */
  static pass(): Passed {
    return new Passed(Action.Pass);
  }

  /** These bytes go on in its place; none: nothing does. What the plugin has kept of it is its own to
   * pass later. */
  static replace(bytes: Uint8Array): Passed {
    return new Passed(Action.Replace, bytes);
  }

  /** The same with text, as UTF-8. */
  static replaceText(text: string): Passed {
    return new Passed(Action.Replace, utf8(text));
  }

  /** The gateway keeps the piece, and gives it again in front of the next one, within
   * server.limits.pluginBodyBytesMax. Not of the last one. */
  static hold(): Passed {
    return new Passed(Action.Hold);
  }

  /** These bytes go on in its place, and end the body: the other side sees a whole message. */
  static end(bytes: Uint8Array): Passed {
    return new Passed(Action.End, bytes);
  }

  /** The same with text, as UTF-8. */
  static endText(text: string): Passed {
    return new Passed(Action.End, utf8(text));
  }

  /** The message is cut off visibly; the reason goes to the log. */
  static cut(reason: string): Passed {
    return new Passed(Action.Cut, utf8(reason));
  }

  /** The exchange is answered so, as a refusal is; if some of a response has gone out, it is cut. */
  static answer(result: Result): Passed {
    result.write();
    return new Passed(Action.Answer, utf8(writer.written()));
  }

  /** The plugin could not do its work: its failureMode decides. */
  static fail(reason: string): Passed {
    return new Passed(Action.Fail, utf8(reason));
  }

  /** As the gateway wants it; the output is valid until the next call. */
  packed(): u64 {
    const bytes = this.output;
    last = bytes;
    if (bytes === null || bytes.length == 0) return <u64>this.action << 60;
    return <u64>this.action << 60 | <u64>bytes.length << 32 | <u64>bytes.dataStart;
  }
}

// Keeps the output until the next call.
let last: Uint8Array | null = null;

function utf8(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

/** The state of one message's body while it passes. */
export abstract class Body {
  /** Is given a piece. */
  abstract chunk(chunk: Chunk): Passed;

  /** The exchange is over, whether the body has passed whole or not. */
  close(): void {}
}

/** A body of which nothing can be made: its plugin fails with the first piece. */
export class Failed extends Body {
  constructor(private reason: string) {
    super();
  }

  chunk(_: Chunk): Passed {
    return Passed.fail(this.reason);
  }
}

// By the exchange's number; a request's and a response's apart.
const requests = new Map<u32, Body>();
const responses = new Map<u32, Body>();

/** Keeps the body of a message. */
export function keep(id: u32, isResponse: bool, body: Body): void {
  (isResponse ? responses : requests).set(id, body);
}

/** Gives a body a piece. */
export function give(id: u32, isResponse: bool, address: usize, size: usize, flags: u32): u64 {
  const bodies = isResponse ? responses : requests;
  let packed: u64 = 0;
  if (bodies.has(id)) {
    const chunk = new Chunk(address, <i32>size, (flags & 1) != 0, (flags & 2) != 0);
    packed = bodies.get(id).chunk(chunk).packed();
  }
  __collect();
  return packed;
}

/** Ends the bodies of an exchange. */
export function close(id: u32): void {
  closeOne(requests, id);
  closeOne(responses, id);
  __collect();
}

function closeOne(bodies: Map<u32, Body>, id: u32): void {
  if (!bodies.has(id)) return;
  bodies.get(id).close();
  bodies.delete(id);
}
