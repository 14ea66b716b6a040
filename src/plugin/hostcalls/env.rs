//! Module `env`: the log, the clock, and what AssemblyScript's runtime asks for.

use std::time::Duration;

use wasmtime::{Caller, Linker};

use super::super::failure::CallError;
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::{LinkResult, Served, bytes, config, files, http, memory, memory_of, metrics, state};
use crate::limits;

const MODULE: &str = "env";

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    match (name, types) {
        ("log", "i32 i32 ->") => {
            linker.func_wrap(MODULE, name, |caller: Caller<'_, _>, address, length| {
                log(caller, 2, address, length)
            })?;
        }
        ("log", "i32 i32 i32 ->") => {
            linker.func_wrap(MODULE, name, log)?;
        }
        ("get_time", "-> i64") => {
            linker.func_wrap(MODULE, name, |caller: Caller<'_, HostState>| {
                unix_time(&caller).as_secs().cast_signed()
            })?;
        }
        ("get_time", "-> f64") => {
            linker.func_wrap(MODULE, name, |caller: Caller<'_, HostState>| {
                unix_time(&caller).as_secs() as f64
            })?;
        }
        ("get_time_ms", "-> i64") => {
            linker.func_wrap(MODULE, name, |caller: Caller<'_, HostState>| {
                unix_time(&caller).as_millis() as i64
            })?;
        }
        ("get_time_ms", "-> f64") => {
            linker.func_wrap(MODULE, name, |caller: Caller<'_, HostState>| {
                unix_time(&caller).as_millis() as f64
            })?;
        }
        ("get_config", _) => return config::serve(linker, types),
        ("http_call", _) => return http::serve(linker, types),
        ("read_file", _) => return files::serve(linker, types),
        ("metric_increment" | "metric_record", _) => {
            return metrics::serve(linker, name, types);
        }
        ("kv_get" | "kv_set" | "kv_incr" | "kv_delete" | "kv_cas", _) => {
            return state::serve(linker, name, types);
        }
        ("abort", "i32 i32 i32 i32 ->") => {
            linker.func_wrap(MODULE, name, abort)?;
        }
        ("seed", "-> f64") => {
            linker.func_wrap(MODULE, name, seed)?;
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// The time since 1970; 0 on a clock set before it.
pub(super) fn unix_time(caller: &Caller<'_, HostState>) -> Duration {
    caller.data().host.scene.unix_time()
}

fn log(
    mut caller: Caller<'_, HostState>,
    level: i32,
    address: i32,
    length: i32,
) -> wasmtime::Result<()> {
    let (text, state) = bytes(&mut caller, "log", address, length)?;
    let level = level_of(level);
    if level == LogLevel::Error {
        state.words.note(text);
    }
    state.log(level, text);
    Ok(())
}

fn level_of(level: i32) -> LogLevel {
    match level {
        ..=0 => LogLevel::Trace,
        1 => LogLevel::Debug,
        2 => LogLevel::Info,
        3 => LogLevel::Warn,
        4.. => LogLevel::Error,
    }
}

/// AssemblyScript's `abort(message, file, line, column)`: ends the call with its message.
pub(in crate::plugin) fn abort(
    mut caller: Caller<'_, HostState>,
    message: i32,
    file: i32,
    line: i32,
    column: i32,
) -> wasmtime::Result<()> {
    let message = assemblyscript_string(&mut caller, message)?;
    let file = assemblyscript_string(&mut caller, file)?;
    Err(CallError::trap(format!("abort: {message} in {file}:{line}:{column}")).into())
}

/// A string of AssemblyScript's runtime: UTF-16, its length in bytes in the four before it. Cut
/// like a log line, since it goes to the log; whatever is wrong with it is told in its place.
fn assemblyscript_string(
    caller: &mut Caller<'_, HostState>,
    address: i32,
) -> Result<String, CallError> {
    let memory = memory_of(caller)?;
    let data = memory.data(&*caller);
    let address = address.cast_unsigned();
    if address == 0 {
        return Ok("(null)".to_owned());
    }
    let length = address
        .checked_sub(4)
        .and_then(|before| memory::slice(data, before, 4))
        .and_then(|bytes| bytes.try_into().ok())
        .map(u32::from_le_bytes);
    let text = length.and_then(|length| memory::slice(data, address, length));
    Ok(text.map_or_else(
        || "(not a string)".to_owned(),
        |bytes| {
            let cut = &bytes[..bytes.len().min(limits::PLUGIN_LOG_LINE_BYTES_MAX)];
            let units = cut.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]]));
            char::decode_utf16(units)
                .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        },
    ))
}

/// AssemblyScript's seed for `Math.random`.
fn seed() -> wasmtime::Result<f64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| CallError::trap(error.to_string()))?;
    Ok(u64::from_le_bytes(bytes) as f64)
}
