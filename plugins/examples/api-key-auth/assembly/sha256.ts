// SHA-256 (FIPS 180-4): keys are compared by their hashes, and may be configured as hashes.

const K: StaticArray<u32> = [
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

export const HASH_BYTES = 32;

/** The hash of a text's UTF-8. */
export function sha256(text: string): Uint8Array {
  const size = String.UTF8.byteLength(text);
  // The text, a bit, zeros, and its size in bits: whole blocks of 64 bytes.
  const message = new Uint8Array(((size + 8) / 64 + 1) * 64);
  const start = message.dataStart;
  String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, start);
  message[size] = 0x80;
  store<u64>(start + <usize>message.length - 8, bswap<u64>(<u64>size * 8));

  const state: StaticArray<u32> = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
  ];
  const words = new StaticArray<u32>(64);
  for (let block = 0; block < message.length; block += 64) digest(start + block, state, words);

  const hash = new Uint8Array(HASH_BYTES);
  for (let i = 0; i < 8; i++) store<u32>(hash.dataStart + 4 * i, bswap<u32>(state[i]));
  return hash;
}

function digest(block: usize, state: StaticArray<u32>, words: StaticArray<u32>): void {
  for (let i = 0; i < 16; i++) words[i] = bswap<u32>(load<u32>(block + 4 * i));
  for (let i = 16; i < 64; i++) {
    const near = words[i - 15];
    const far = words[i - 2];
    const s0 = rotr<u32>(near, 7) ^ rotr<u32>(near, 18) ^ (near >>> 3);
    const s1 = rotr<u32>(far, 17) ^ rotr<u32>(far, 19) ^ (far >>> 10);
    words[i] = words[i - 16] + s0 + words[i - 7] + s1;
  }
  let a = state[0], b = state[1], c = state[2], d = state[3];
  let e = state[4], f = state[5], g = state[6], h = state[7];
  for (let i = 0; i < 64; i++) {
    const s1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + K[i] + words[i];
    const s0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g; g = f; f = e; e = d + t1;
    d = c; c = b; b = a; a = t1 + t2;
  }
  state[0] += a; state[1] += b; state[2] += c; state[3] += d;
  state[4] += e; state[5] += f; state[6] += g; state[7] += h;
}

/** The bytes of a hash in hexadecimal; null if it is none. */
export function fromHex(text: string): Uint8Array | null {
  if (text.length != 2 * HASH_BYTES) return null;
  const hash = new Uint8Array(HASH_BYTES);
  for (let i = 0; i < text.length; i++) {
    const char = text.charCodeAt(i) | 0x20;
    const digit = char >= 0x30 && char <= 0x39 ? char - 0x30
      : char >= 0x61 && char <= 0x66 ? char - 0x57 : -1;
    if (digit < 0) return null;
    hash[i >> 1] = <u8>((hash[i >> 1] << 4) | digit);
  }
  return hash;
}
