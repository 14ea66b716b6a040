// UTF-8 text out, into one buffer that is reused from call to call and grows by doubling.

import { storeUtf8 } from "./json";

const HEX = "0123456789abcdef";
const FIRST_BYTES: usize = 1024;
// One large body must not hold memory for the life of the instance.
const KEPT_BYTES_MAX: usize = 64 * 1024;

let buffer: usize = 0;
let capacity: usize = 0;
let length: usize = 0;

/** Begins anew; what was written before is gone. */
export function begin(): void {
  length = 0;
  if (capacity > KEPT_BYTES_MAX) {
    heap.free(buffer);
    capacity = 0;
  }
  if (capacity == 0) {
    capacity = FIRST_BYTES;
    buffer = heap.alloc(capacity);
  }
}

/** What was written, as the gateway wants it: the address low, the size high. */
export function packed(): u64 {
  return (<u64>length << 32) | <u64>buffer;
}

/** What was written, as a string. */
export function written(): string {
  return String.UTF8.decodeUnsafe(buffer, length);
}

function reserve(more: usize): void {
  if (length + more <= capacity) return;
  while (capacity < length + more) capacity *= 2;
  buffer = heap.realloc(buffer, capacity);
}

function byte(value: u32): void {
  store<u8>(buffer + length++, value);
}

/** ASCII text, as it is. */
export function raw(text: string): void {
  const size = text.length;
  reserve(size);
  for (let i = 0; i < size; i++) byte(text.charCodeAt(i));
}

/** JSON text of any characters, as it is. */
export function json(text: string): void {
  const size = <usize>String.UTF8.byteLength(text);
  reserve(size);
  length += String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, buffer + length);
}

/** A JSON string, quotes included. Half a surrogate pair, which UTF-8 has no form for, becomes
 * U+FFFD. */
export function str(text: string): void {
  const size = text.length;
  // Six bytes is the longest that one UTF-16 unit becomes (\u001f); a pair takes four.
  reserve(<usize>size * 6 + 2);
  byte(0x22);
  for (let i = 0; i < size; i++) {
    const unit: u32 = text.charCodeAt(i);
    if (unit >= 0x20 && unit < 0x80 && unit != 0x22 && unit != 0x5c) byte(unit);
    else if (unit < 0x80) escaped(unit);
    else if (unit >= 0xd800 && unit < 0xe000) {
      const next: u32 = unit < 0xdc00 && i + 1 < size ? text.charCodeAt(i + 1) : 0;
      const isPair = next >= 0xdc00 && next < 0xe000;
      const code = isPair ? 0x10000 + ((unit - 0xd800) << 10) + (next - 0xdc00) : 0xfffd;
      length = storeUtf8(buffer + length, code) - buffer;
      if (isPair) i++;
    } else length = storeUtf8(buffer + length, unit) - buffer;
  }
  byte(0x22);
}

function escaped(unit: u32): void {
  byte(0x5c);
  switch (unit) {
    case 0x22: case 0x5c: byte(unit); break;
    case 0x0a: byte(0x6e); break;
    case 0x0d: byte(0x72); break;
    case 0x09: byte(0x74); break;
    default: {
      byte(0x75);
      byte(0x30);
      byte(0x30);
      byte(HEX.charCodeAt(unit >> 4));
      byte(HEX.charCodeAt(unit & 15));
    }
  }
}
