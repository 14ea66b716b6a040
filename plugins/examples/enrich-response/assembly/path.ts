// The places in a JSON text that a path leads to: names with dots between, and * for each item of a
// list (or each value of an object).

import { Json } from "odin-plugin/assembly";

/** All values at a path; `steps` are its parts from `from` on. */
export function findAll(value: Json, steps: string[], from: i32, found: Json[]): void {
  if (from == steps.length) {
    if (value.exists) found.push(value);
    return;
  }
  if (steps[from] != "*") {
    if (value.isArray) {
      const items = value.items();
      const place = parseInt(steps[from]);
      if (place >= 0 && place < items.length) findAll(items[<i32>place], steps, from + 1, found);
      return;
    }
    findAll(value.get(steps[from]), steps, from + 1, found);
    return;
  }
  if (value.isArray) {
    const items = value.items();
    for (let i = 0; i < items.length; i++) findAll(items[i], steps, from + 1, found);
  } else {
    const entries = value.entries();
    for (let i = 0; i < entries.length; i++) findAll(entries[i].value, steps, from + 1, found);
  }
}

/** What a string or a number says, for a URL; "" for anything else. */
export function scalar(value: Json): string {
  if (value.isString) return value.toString();
  return isNaN(value.number(NaN)) ? "" : value.text;
}

const UNRESERVED = "-._~";
const HEX = "0123456789ABCDEF";

/** Text as a part of a path: nothing in it can leave the part (RFC 3986 section 3.3). */
export function escapeSegment(text: string): string {
  const bytes = Uint8Array.wrap(String.UTF8.encode(text));
  // As a segment, these would mean this place or the one above.
  if (text == "." || text == "..") return text.split(".").join("%2E");
  let out = "";
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    const isPlain = (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5a) ||
      (byte >= 0x61 && byte <= 0x7a) || UNRESERVED.includes(String.fromCharCode(byte));
    out += isPlain
      ? String.fromCharCode(byte)
      : "%" + HEX.charAt(byte >> 4) + HEX.charAt(byte & 15);
  }
  return out;
}
