// Plugins, byte by byte: what they do is all that is in them.

const text = (words) => [...new TextEncoder().encode(words)];

/** An unsigned (or, with `signed`, a signed) number as WebAssembly writes it. */
function leb(number, signed = false) {
  const out = [];
  let rest = BigInt(number);
  for (;;) {
    const byte = Number(rest & 0x7fn);
    rest >>= 7n;
    const isLast = signed
      ? (rest === 0n && byte < 64) || (rest === -1n && byte >= 64)
      : rest === 0n;
    out.push(isLast ? byte : byte | 0x80);
    if (isLast) return out;
  }
}

const sized = (bytes) => [...leb(bytes.length), ...bytes];
const section = (id, bytes) => [id, ...sized(bytes)];

/** A plugin that counts down from `turns` in each call, then answers `output`. */
export function answering(output, turns = 0) {
  const [I32, I64, DATA] = [0x7f, 0x7e, 1024];
  const data = text(output);
  const packed = (BigInt(data.length) << 32n) | BigInt(DATA);
  const countDown =
    turns === 0
      ? []
      : [
          0x41,
          ...leb(turns, true),
          0x21,
          2, // local 2 = turns
          0x03,
          0x40,
          0x20,
          2,
          0x41,
          1,
          0x6b,
          0x22,
          2,
          0x0d,
          0,
          0x0b, // loop: local 2 -= 1 until 0
        ];
  const body = [1, 1, I32, ...countDown, 0x42, ...leb(packed, true), 0x0b];
  return Uint8Array.from([
    0x00,
    ...text("asm"),
    1,
    0,
    0,
    0,
    ...section(1, [1, 0x60, 2, I32, I32, 1, I64]),
    ...section(3, [1, 0]),
    ...section(5, [1, 0, 2]),
    ...section(7, [2, ...sized(text("memory")), 2, 0, ...sized(text("execute")), 0, 0]),
    ...section(10, [1, ...sized(body)]),
    ...section(11, [1, 0, 0x41, ...leb(DATA, true), 0x0b, ...sized(data)]),
  ]);
}

/** A plugin that sets `X-Tag` and takes some time. */
export function tagging(tag, turns = 0) {
  const response = { headers: { "X-Tag": [tag] } };
  return answering(JSON.stringify({ modified: true, continue: true, response }), turns);
}

/** What begins like a module and is none. */
export const broken = Uint8Array.from([0x00, ...text("asm"), 1, 0, 0, 0, 0xff]);
