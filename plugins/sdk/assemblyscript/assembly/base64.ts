// Base64 (RFC 4648 section 4), for bodies that are not UTF-8.

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

export function encode(bytes: Uint8Array): string {
  const size = bytes.length;
  const out = new Array<string>();
  for (let i = 0; i < size; i += 3) {
    const b1: u32 = i + 1 < size ? bytes[i + 1] : 0;
    const b2: u32 = i + 2 < size ? bytes[i + 2] : 0;
    const bits: u32 = (<u32>bytes[i] << 16) | (b1 << 8) | b2;
    out.push(ALPHABET.charAt(bits >> 18) + ALPHABET.charAt((bits >> 12) & 63) +
      (i + 1 < size ? ALPHABET.charAt((bits >> 6) & 63) : "=") +
      (i + 2 < size ? ALPHABET.charAt(bits & 63) : "="));
  }
  return out.join("");
}

/** The bytes; what is not of the alphabet is left out. */
export function decode(text: string): Uint8Array {
  const out = new Uint8Array((text.length * 3) / 4);
  let bits: u32 = 0;
  let count = 0;
  let size = 0;
  for (let i = 0; i < text.length; i++) {
    const value = valueOf(text.charCodeAt(i));
    if (value < 0) continue;
    bits = (bits << 6) | <u32>value;
    count += 6;
    if (count >= 8) {
      count -= 8;
      out[size++] = <u8>(bits >> count);
    }
  }
  return out.subarray(0, size);
}

function valueOf(char: i32): i32 {
  if (char >= 0x41 && char <= 0x5a) return char - 0x41;
  if (char >= 0x61 && char <= 0x7a) return char - 0x61 + 26;
  if (char >= 0x30 && char <= 0x39) return char - 0x30 + 52;
  return char == 0x2b ? 62 : char == 0x2f ? 63 : -1;
}
