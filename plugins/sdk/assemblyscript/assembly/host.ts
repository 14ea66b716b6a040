// What the host offers a plugin: log, clock, configuration.

@external("env", "log")
declare function envLog(level: i32, address: usize, size: usize): void;

@external("env", "get_time")
declare function envGetTime(): i64;

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

/** A key of the plugin's config as text, dots reaching into nested objects; null if there is none. */
export function configText(key: string): string | null {
  const buffer = String.UTF8.encode(key);
  return read(envGetConfig(changetype<usize>(buffer), <usize>buffer.byteLength));
}

/** A host function's packed result. It stands in a buffer of the host's, so it is never freed here. */
export function read(packed: u64): string | null {
  const address = <usize>(packed & 0xffffffff);
  if (address == 0) return null;
  return String.UTF8.decodeUnsafe(address, <usize>(packed >> 32));
}
