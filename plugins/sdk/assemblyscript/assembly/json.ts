// JSON read lazily, in place: a Json is a range of UTF-8 text in linear memory.
//
// A plugin looks at two or three of an input's values; the others are skipped over, byte by byte,
// and never become objects. The text comes from the gateway, so malformed text reads as "not there"
// rather than as a precise error; Json.parse tells where that is not enough.

// Nesting beyond this is refused: it would be a way to exhaust the stack.
const DEPTH_MAX: i32 = 256;

const QUOTE: u8 = 0x22;
const BACKSLASH: u8 = 0x5c;

/** One entry of an object. */
export class Entry {
  constructor(public name: string, public value: Json) {}
}

/** One JSON value, or the absence of one. It is valid as long as the text it was found in. */
export class Json {
  /** The absence of a value. */
  static readonly NONE: Json = new Json(0, 0);

  constructor(public start: usize, public end: usize) {}

  /** The value that is all of the text in [start, end); none if that is not JSON. */
  static parse(start: usize, end: usize): Json {
    const from = skipSpace(start, end);
    const to = skipValue(from, end, 0);
    if (to == 0 || skipSpace(to, end) != end) return Json.NONE;
    return new Json(from, to);
  }

  /** The value that is all of a string, a body for example, in memory of its own (never freed
   * before the Json is: it holds the buffer). */
  static of(text: string): Json {
    const buffer = String.UTF8.encode(text);
    const start = changetype<usize>(buffer);
    const value = Json.parse(start, start + <usize>buffer.byteLength);
    return value.exists ? new OwnedJson(value.start, value.end, buffer) : value;
  }

  /** Whether there is a value, null included. */
  get exists(): bool {
    return this.start < this.end;
  }

  get isNull(): bool {
    return !this.exists || load<u8>(this.start) == 0x6e; // n
  }

  get isObject(): bool {
    return this.exists && load<u8>(this.start) == 0x7b; // {
  }

  get isArray(): bool {
    return this.exists && load<u8>(this.start) == 0x5b; // [
  }

  get isString(): bool {
    return this.exists && load<u8>(this.start) == QUOTE;
  }

  get isTrue(): bool {
    return this.exists && load<u8>(this.start) == 0x74; // t
  }

  get isFalse(): bool {
    return this.exists && load<u8>(this.start) == 0x66; // f
  }

  /** The JSON text itself. */
  get text(): string {
    return String.UTF8.decodeUnsafe(this.start, this.end - this.start);
  }

  /** The value under a key of an object. */
  get(key: string): Json {
    const cursor = new Cursor(this, 0x7b);
    while (cursor.next()) {
      if (nameIs(cursor.nameStart, cursor.nameEnd, key)) return cursor.value(this);
    }
    return Json.NONE;
  }

  /** The entries of an object. */
  entries(): Entry[] {
    const entries: Entry[] = [];
    const cursor = new Cursor(this, 0x7b);
    while (cursor.next()) entries.push(new Entry(cursor.name, cursor.value(this)));
    return entries;
  }

  /** The values of an array. */
  items(): Json[] {
    const items: Json[] = [];
    const cursor = new Cursor(this, 0x5b);
    while (cursor.next()) items.push(cursor.value(this));
    return items;
  }

  /** A string, decoded; "" if it is none. */
  toString(): string {
    return this.isString ? unescape(this.start + 1, this.end - 1) : "";
  }

  /** An array's strings, decoded; a string alone counts as an array of one. */
  strings(): string[] {
    if (this.isString) return [this.toString()];
    const strings: string[] = [];
    const cursor = new Cursor(this, 0x5b);
    while (cursor.next()) {
      if (load<u8>(cursor.start) == QUOTE) strings.push(unescape(cursor.start + 1, cursor.end - 1));
    }
    return strings;
  }

  /** A number, or `fallback` where there is none. */
  number(fallback: f64): f64 {
    if (!this.exists) return fallback;
    const first = load<u8>(this.start);
    return first == 0x2d || (first >= 0x30 && first <= 0x39) ? parseFloat(this.text) : fallback;
  }

  /** A boolean, or `fallback` where there is none. */
  bool(fallback: bool): bool {
    return this.isTrue ? true : this.isFalse ? false : fallback;
  }

  /** Whether it is exactly this text, compared without decoding; for keys and enumerations. */
  is(text: string): bool {
    return this.isString && nameIs(this.start + 1, this.end - 1, text);
  }
}

/** A Json that keeps the buffer alive in which its text stands. */
class OwnedJson extends Json {
  constructor(start: usize, end: usize, public buffer: ArrayBuffer) {
    super(start, end);
  }
}

/** Goes over the entries of an object or the values of an array. */
export class Cursor {
  nameStart: usize = 0;
  nameEnd: usize = 0;
  start: usize = 0;
  end: usize = 0;
  private at: usize = 0;
  private limit: usize;
  private isObject: bool;

  /** Over `value`, if it opens with this bracket; else over nothing. */
  constructor(value: Json, bracket: u8) {
    this.limit = value.end;
    this.isObject = bracket == 0x7b;
    if (value.exists && load<u8>(value.start) == bracket) {
      this.at = skipSpace(value.start + 1, value.end);
    }
  }

  /** Moves to the next one; false where there is none. */
  next(): bool {
    let at = this.at;
    const limit = this.limit;
    if (at == 0 || at >= limit) return false;
    this.at = 0;
    if (this.isObject) {
      if (load<u8>(at) != QUOTE) return false;
      const end = skipString(at, limit);
      if (end == 0) return false;
      this.nameStart = at + 1;
      this.nameEnd = end - 1;
      at = skipSpace(skipSpace(end, limit) + 1, limit);
    }
    const end = skipValue(at, limit, 0);
    if (end == 0) return false; // the closing bracket of an array ends up here too
    this.start = at;
    this.end = end;
    at = skipSpace(end, limit);
    if (at < limit && load<u8>(at) == 0x2c) this.at = skipSpace(at + 1, limit);
    return true;
  }

  get name(): string {
    return unescape(this.nameStart, this.nameEnd);
  }

  /** The value here, a part of `whole`. */
  value(whole: Json): Json {
    if (whole instanceof OwnedJson) {
      return new OwnedJson(this.start, this.end, (whole as OwnedJson).buffer);
    }
    return new Json(this.start, this.end);
  }

  /** Whether the name is this ASCII text, in any case. */
  nameIsIgnoringCase(name: string): bool {
    const length = name.length;
    if (this.nameEnd - this.nameStart != <usize>length) return false;
    for (let i = 0; i < length; i++) {
      if (lower(load<u8>(this.nameStart + i)) != lower(<u8>name.charCodeAt(i))) return false;
    }
    return true;
  }
}

// @ts-ignore: decorator
@inline
function lower(char: u8): u8 {
  return char >= 0x41 && char <= 0x5a ? char + 32 : char;
}

/** Compares the text between two quotes with a name; one with escapes or beyond ASCII is
 * decoded. */
export function nameIs(start: usize, end: usize, name: string): bool {
  const length = name.length;
  let i = 0;
  for (; start + i < end; i++) {
    const char = load<u8>(start + i);
    if (char >= 0x80 || char == BACKSLASH) return unescape(start, end) == name;
    if (i >= length || char != name.charCodeAt(i)) return false;
  }
  return i == length;
}

export function skipSpace(at: usize, end: usize): usize {
  while (at < end) {
    const char = load<u8>(at);
    if (char != 0x20 && char != 0x0a && char != 0x0d && char != 0x09) break;
    at++;
  }
  return at;
}

/** The end of the value at `at`; 0 if there is none that is well formed. */
function skipValue(at: usize, end: usize, depth: i32): usize {
  if (at >= end || depth > DEPTH_MAX) return 0;
  const char = load<u8>(at);
  switch (char) {
    case QUOTE: return skipString(at, end);
    case 0x7b: return skipContainer(at, end, depth, true);
    case 0x5b: return skipContainer(at, end, depth, false);
    case 0x74: return skipWord(at, end, 0x65757274, 4); // true
    case 0x66: return skipWord(at + 1, end, 0x65736c61, 4); // f, alse
    case 0x6e: return skipWord(at, end, 0x6c6c756e, 4); // null
    default: return skipNumber(at, end);
  }
}

/** Looks at eight bytes together: most of a string is neither quote nor backslash. */
export function skipString(at: usize, end: usize): usize {
  at++;
  while (at + 8 <= end) {
    const word = load<u64>(at);
    const found = equalBytes(word, QUOTE) | equalBytes(word, BACKSLASH);
    if (found == 0) {
      at += 8;
      continue;
    }
    at += <usize>(ctz(found) >> 3);
    if (load<u8>(at) == QUOTE) return at + 1;
    at += 2;
  }
  for (; at < end; at++) {
    const char = load<u8>(at);
    if (char == QUOTE) return at + 1;
    if (char == BACKSLASH) at++;
  }
  return 0;
}

const ONES: u64 = 0x0101010101010101;

/** A word whose lowest set bit is in the first byte of `word` that equals `char`; 0 if none does.
 * (Bytes behind the first may be marked wrongly: the subtraction borrows.) */
// @ts-ignore: decorator
@inline
function equalBytes(word: u64, char: u8): u64 {
  const different = word ^ (ONES * <u64>char);
  return (different - ONES) & ~different & (ONES << 7);
}

function skipContainer(at: usize, end: usize, depth: i32, isObject: bool): usize {
  const closing: u8 = isObject ? 0x7d : 0x5d;
  at = skipSpace(at + 1, end);
  if (at < end && load<u8>(at) == closing) return at + 1;
  while (at < end) {
    if (isObject) {
      if (load<u8>(at) != QUOTE) return 0;
      const name = skipString(at, end);
      if (name == 0) return 0;
      at = skipSpace(name, end);
      if (at >= end || load<u8>(at) != 0x3a) return 0;
      at = skipSpace(at + 1, end);
    }
    const value = skipValue(at, end, depth + 1);
    if (value == 0) return 0;
    at = skipSpace(value, end);
    if (at >= end) return 0;
    const char = load<u8>(at);
    if (char == closing) return at + 1;
    if (char != 0x2c) return 0;
    at = skipSpace(at + 1, end);
  }
  return 0;
}

/** A literal's four letters, compared as one little-endian number. */
function skipWord(at: usize, end: usize, letters: u32, length: usize): usize {
  return at + length <= end && load<u32>(at) == letters ? at + length : 0;
}

function skipNumber(at: usize, end: usize): usize {
  const start = at;
  while (at < end) {
    const char = load<u8>(at);
    const isNumber = (char >= 0x30 && char <= 0x39) || char == 0x2d || char == 0x2b ||
      char == 0x2e || char == 0x65 || char == 0x45;
    if (!isNumber) break;
    at++;
  }
  return at == start ? 0 : at;
}

/** Decodes the text between two quotes. */
export function unescape(start: usize, end: usize): string {
  let plain = start;
  while (plain < end && load<u8>(plain) != BACKSLASH) plain++;
  if (plain == end) return String.UTF8.decodeUnsafe(start, end - start);

  // Decoded text is never longer than its escaped form.
  const out = heap.alloc(end - start);
  memory.copy(out, start, plain - start);
  let to = out + (plain - start);
  let at = plain;
  while (at < end) {
    const char = load<u8>(at++);
    if (char != BACKSLASH || at == end) {
      store<u8>(to++, char);
      continue;
    }
    const letter = load<u8>(at++);
    switch (letter) {
      case 0x62: store<u8>(to++, 8); break;
      case 0x66: store<u8>(to++, 12); break;
      case 0x6e: store<u8>(to++, 10); break;
      case 0x72: store<u8>(to++, 13); break;
      case 0x74: store<u8>(to++, 9); break;
      case 0x75: {
        let code = hex4(at, end);
        at += 4;
        if (code >= 0xd800 && code < 0xdc00 && at + 6 <= end && load<u16>(at) == 0x755c) {
          const low = hex4(at + 2, end);
          if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
          }
        }
        to = storeUtf8(to, code >= 0xd800 && code < 0xe000 ? 0xfffd : code);
        break;
      }
      default: store<u8>(to++, letter);
    }
  }
  const text = String.UTF8.decodeUnsafe(out, to - out);
  heap.free(out);
  return text;
}

function hex4(at: usize, end: usize): u32 {
  if (at + 4 > end) return 0xfffd;
  let code: u32 = 0;
  for (let i = 0; i < 4; i++) {
    const char = lower(load<u8>(at + i));
    if (char >= 0x30 && char <= 0x39) code = (code << 4) | (char - 0x30);
    else if (char >= 0x61 && char <= 0x66) code = (code << 4) | (char - 0x57);
    else return 0xfffd;
  }
  return code;
}

/** Writes a code point as UTF-8; the address behind it. */
export function storeUtf8(to: usize, code: u32): usize {
  if (code < 0x80) {
    store<u8>(to, code);
    return to + 1;
  }
  if (code < 0x800) {
    store<u8>(to, 0xc0 | (code >> 6));
    store<u8>(to + 1, 0x80 | (code & 0x3f));
    return to + 2;
  }
  if (code < 0x10000) {
    store<u8>(to, 0xe0 | (code >> 12));
    store<u8>(to + 1, 0x80 | ((code >> 6) & 0x3f));
    store<u8>(to + 2, 0x80 | (code & 0x3f));
    return to + 3;
  }
  store<u8>(to, 0xf0 | (code >> 18));
  store<u8>(to + 1, 0x80 | ((code >> 12) & 0x3f));
  store<u8>(to + 2, 0x80 | ((code >> 6) & 0x3f));
  store<u8>(to + 3, 0x80 | (code & 0x3f));
  return to + 4;
}
