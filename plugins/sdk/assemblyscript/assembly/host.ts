// What the host offers a plugin: log, clock, configuration, files, metrics. Calls over HTTP are in
// http, shared state is in kv. A module imports only what it uses.

@external("env", "log")
declare function envLog(level: i32, address: usize, size: usize): void;

@external("env", "get_time")
declare function envGetTime(): i64;

@external("env", "get_time_ms")
declare function envGetTimeMs(): i64;

@external("env", "read_file")
declare function envReadFile(address: usize, size: usize): u64;

@external("env", "metric_increment")
declare function envMetricIncrement(address: usize, size: usize, delta: i64): void;

@external("env", "metric_record")
declare function envMetricRecord(address: usize, size: usize, value: i64): void;

@external("env", "get_config")
declare function envGetConfig(address: usize, size: usize): u64;

/** How important a log line is; the gateway's logging.level decides what is shown. */
export const enum Level { Trace, Debug, Info, Warn, Error }

/** Writes one line to the gateway's log, under the plugin's name. */
export function log(level: Level, text: string): void {
  const buffer = String.UTF8.encode(text);
  envLog(<i32>level, changetype<usize>(buffer), <usize>buffer.byteLength);
}

export function debug(text: string): void {
  log(Level.Debug, text);
}

export function info(text: string): void {
  log(Level.Info, text);
}

export function warn(text: string): void {
  log(Level.Warn, text);
}

export function error(text: string): void {
  log(Level.Error, text);
}

/** Unix time in seconds. */
export function nowSeconds(): i64 {
  return envGetTime();
}

/** A key of the plugin's config as text, dots reaching into nested objects; null if there is
 * none. */
export function configText(key: string): string | null {
  const buffer = String.UTF8.encode(key);
  return read(envGetConfig(changetype<usize>(buffer), <usize>buffer.byteLength));
}

/** The plugin's whole config as JSON text: its packed place, 0 if the gateway does not tell it. */
export function wholeConfig(): u64 {
  return envGetConfig(0, 0);
}

/** Unix time in milliseconds. */
export function nowMillis(): i64 {
  return envGetTimeMs();
}

/** The content of a file whose path stands in the plugin's config; null for one that is not there,
 * is too large, or stands not in config: the gateway's log says which. */
export function readFile(path: string): string | null {
  const buffer = String.UTF8.encode(path);
  return read(envReadFile(changetype<usize>(buffer), <usize>buffer.byteLength));
}

/** Adds to a counter of the plugin's own, in the gateway's metrics under the plugin's name. */
export function count(metric: string, by: i64): void {
  const buffer = String.UTF8.encode(metric);
  envMetricIncrement(changetype<usize>(buffer), <usize>buffer.byteLength, by);
}

/** Records a value in a histogram of the plugin's own. */
export function record(metric: string, value: i64): void {
  const buffer = String.UTF8.encode(metric);
  envMetricRecord(changetype<usize>(buffer), <usize>buffer.byteLength, value);
}

/** A host function's packed result. It stands in a buffer of the host's, so it is never freed
 * here. */
export function read(packed: u64): string | null {
  const address = <usize>(packed & 0xffffffff);
  if (address == 0) return null;
  return String.UTF8.decodeUnsafe(address, <usize>(packed >> 32));
}
