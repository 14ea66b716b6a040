// State that all instances of a plugin share, on every worker, and with a Redis (the plugin's
// config has backend: redis, or redis.host) all gateways. Keys are the plugin's own.
//
// A value lives for its time to live, in milliseconds; 0 is for ever, which in the bounded memory
// backend means until it is evicted. AssemblyScript has no exceptions to catch, so that the state
// can't be reached is a value of each result: a plugin answers it with Result.fail.

import { read } from "./host";

@external("env", "kv_get")
declare function envKvGet(key: usize, keySize: usize): u64;

@external("env", "kv_set")
declare function envKvSet(
  key: usize, keySize: usize, value: usize, valueSize: usize, ttlMs: i64,
): i32;

@external("env", "kv_incr")
declare function envKvIncr(key: usize, keySize: usize, delta: i64, ttlMs: i64): i64;

@external("env", "kv_cas")
declare function envKvCas(
  key: usize, keySize: usize, expected: usize, expectedSize: usize,
  value: usize, valueSize: usize, ttlMs: i64,
): i32;

@external("env", "kv_delete")
declare function envKvDelete(key: usize, keySize: usize): i32;

/** What a plugin says of it when the shared state can't be reached. */
export const UNREACHABLE = "the shared state can't be reached (the gateway's log says why)";

/** What `get` found. */
export class Found {
  /** `failed`: the state can't be reached. `value`: null if the key is not there. */
  constructor(public failed: bool, public value: string | null) {}
}

/** The value of a key. */
export function get(key: string): Found {
  const buffer = String.UTF8.encode(key);
  const packed = envKvGet(changetype<usize>(buffer), <usize>buffer.byteLength);
  // Negative: a size has 31 bits.
  return <i64>packed < 0 ? new Found(true, null) : new Found(false, read(packed));
}

/** Sets a key; false if the state can't be reached or is full, or key or value are over their
 * limit. */
export function set(key: string, value: string, ttlMs: i64): bool {
  const k = String.UTF8.encode(key);
  const v = String.UTF8.encode(value);
  const keySize = <usize>k.byteLength;
  const valueSize = <usize>v.byteLength;
  return envKvSet(changetype<usize>(k), keySize, changetype<usize>(v), valueSize, ttlMs) == 0;
}

/** What `increment` returns where the state can't be reached. */
export const FAILED: i64 = i64.MIN_VALUE;

/** Adds to a counter and returns what it then is (or FAILED): atomic over all workers and gateways.
 * A counter that is not there is made, with this time to live; one that is keeps its own. */
export function increment(key: string, by: i64, ttlMs: i64): i64 {
  const buffer = String.UTF8.encode(key);
  return envKvIncr(changetype<usize>(buffer), <usize>buffer.byteLength, by, ttlMs);
}

/** Sets a key if it still has the expected value (null: if it is not there): 1 if it was set, 0 if
 * not, less than 0 if the state can't be reached or is full. With `get` before it, any change of a
 * value becomes atomic: try again until it is set. */
export function compareAndSet(
  key: string, expected: string | null, value: string, ttlMs: i64,
): i32 {
  const k = String.UTF8.encode(key);
  const v = String.UTF8.encode(value);
  const e = String.UTF8.encode(expected === null ? "" : expected);
  // A size of -1 says that no key is expected.
  const expectedSize = expected === null ? usize.MAX_VALUE : <usize>e.byteLength;
  return envKvCas(
    changetype<usize>(k), <usize>k.byteLength, changetype<usize>(e), expectedSize,
    changetype<usize>(v), <usize>v.byteLength, ttlMs,
  );
}

/** Removes a key: 1 if it was there, 0 if not, less than 0 if the state can't be reached. */
export function remove(key: string): i32 {
  const buffer = String.UTF8.encode(key);
  return envKvDelete(changetype<usize>(buffer), <usize>buffer.byteLength);
}
