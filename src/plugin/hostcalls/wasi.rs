//! WASI preview1, as far as a plugin has any business with it: clocks, random bytes, an empty
//! environment, standard output and error as log lines. No files, no sockets.
//!
//! Everything else answers an errno: languages' runtimes probe for what they need at start and do
//! without it. `wasi_unstable`, the name of older toolchains, gets the same.

use std::time::Duration;

use send_wrapper::SendWrapper;
use wasmtime::{Caller, FuncType, Linker, Val, ValType};

use super::super::failure::{CallError, Exited};
use super::super::memory::{out_of_bounds, slice, slice_mut};
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::env::unix_time;
use super::{LinkResult, Served, memory_of};
use crate::limits;

const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const ENOSYS: i32 = 52;
/// The file type of a terminal: what a program's own buffering takes to be flushed by lines.
const CHARACTER_DEVICE: u8 = 2;

pub(super) fn serve(
    linker: &mut Linker<HostState>,
    module: &str,
    name: &str,
    types: &str,
    ty: FuncType,
) -> LinkResult {
    let preview1 = module == "wasi_snapshot_preview1";
    match (name, types) {
        ("proc_exit", "i32 ->") => {
            linker.func_wrap(module, name, |code: i32| -> wasmtime::Result<()> {
                Err(Exited { code }.into())
            })?;
        }
        ("clock_time_get", "i32 i64 i32 -> i32") => {
            linker.func_wrap(module, name, clock_time_get)?;
        }
        ("clock_res_get", "i32 i32 -> i32") => {
            linker.func_wrap(module, name, |caller: Caller<'_, _>, _clock: i32, out: i32| {
                write(caller, "clock_res_get", out, &1_u64.to_le_bytes())
            })?;
        }
        ("random_get", "i32 i32 -> i32") => {
            linker.func_wrap(module, name, random_get)?;
        }
        ("args_sizes_get" | "environ_sizes_get", "i32 i32 -> i32") => {
            linker.func_wrap(
                module,
                name,
                |mut caller: Caller<'_, _>, count: i32, size: i32| {
                    write_in(&mut caller, "sizes_get", count, &[0; 4])?;
                    write(caller, "sizes_get", size, &[0; 4])
                },
            )?;
        }
        ("args_get" | "environ_get", "i32 i32 -> i32") => {
            linker.func_wrap(module, name, |_: i32, _: i32| SUCCESS)?;
        }
        ("fd_write", "i32 i32 i32 i32 -> i32") => {
            linker.func_wrap(module, name, fd_write)?;
        }
        ("fd_read", "i32 i32 i32 i32 -> i32") => {
            linker.func_wrap(module, name, fd_read)?;
        }
        ("fd_fdstat_get", "i32 i32 -> i32") => {
            linker.func_wrap(module, name, fd_fdstat_get)?;
        }
        ("fd_fdstat_set_flags", "i32 i32 -> i32") => {
            linker.func_wrap(module, name, |fd: i32, _: i32| standard(fd))?;
        }
        ("fd_close", "i32 -> i32") => {
            linker.func_wrap(module, name, standard)?;
        }
        // How a program finds its open directories: the first answer ends the search.
        ("fd_prestat_get" | "fd_prestat_dir_name", _) => answer(linker, module, name, ty, EBADF)?,
        ("sched_yield", "-> i32") => {
            linker.func_wrap(module, name, || SUCCESS)?;
        }
        // Older programs lay the subscriptions out otherwise; theirs is answered like the rest.
        ("poll_oneoff", "i32 i32 i32 i32 -> i32") if preview1 => {
            linker.func_wrap_async(module, name, |caller, (from, to, count, written)| {
                Box::new(poll_oneoff(caller, from, to, count, written))
            })?;
        }
        _ => answer(linker, module, name, ty, ENOSYS)?,
    }
    Ok(Served::Yes)
}

/// Defines a function of any type that does nothing but answer `errno`.
fn answer(
    linker: &mut Linker<HostState>,
    module: &str,
    name: &str,
    ty: FuncType,
    errno: i32,
) -> wasmtime::Result<()> {
    let answers: Vec<Val> = ty
        .results()
        .map(|ty| match ty {
            ValType::I64 => Val::I64(0),
            ValType::F32 => Val::F32(0),
            ValType::F64 => Val::F64(0),
            _ => Val::I32(errno),
        })
        .collect();
    linker.func_new(module, name, ty, move |_, _, results| {
        results.copy_from_slice(&answers);
        Ok(())
    })?;
    Ok(())
}

fn write_in(
    caller: &mut Caller<'_, HostState>,
    what: &str,
    address: i32,
    bytes: &[u8],
) -> Result<(), CallError> {
    let memory = memory_of(caller)?;
    let data = memory.data_mut(caller);
    let (address, size) = (address.cast_unsigned(), data.len());
    slice_mut(data, address, bytes.len() as u32)
        .ok_or_else(|| out_of_bounds(what, address, bytes.len() as u32, size))?
        .copy_from_slice(bytes);
    Ok(())
}

fn write(
    mut caller: Caller<'_, HostState>,
    what: &str,
    address: i32,
    bytes: &[u8],
) -> wasmtime::Result<i32> {
    write_in(&mut caller, what, address, bytes)?;
    Ok(SUCCESS)
}

/// Whether `fd` is standard input, output or error: the only ones that are open.
fn standard(fd: i32) -> i32 {
    if (0..=2).contains(&fd) { SUCCESS } else { EBADF }
}

fn clock_time_get(
    caller: Caller<'_, HostState>,
    clock: i32,
    _precision: i64,
    out: i32,
) -> wasmtime::Result<i32> {
    // 0 is the wall clock, 1 the monotonic one; CPU clocks (2, 3) are refused. Both are answered
    // by the wall clock: a monotonic one that starts in 1970 is as good as any.
    if !(0..=1).contains(&clock) {
        return Ok(EINVAL);
    }
    let nanos = unix_time(&caller).as_nanos() as u64;
    write(caller, "clock_time_get", out, &nanos.to_le_bytes())
}

fn random_get(
    mut caller: Caller<'_, HostState>,
    address: i32,
    length: i32,
) -> wasmtime::Result<i32> {
    let (address, length) = (address.cast_unsigned(), length.cast_unsigned());
    if length as usize > limits::PLUGIN_RANDOM_BYTES_MAX {
        return Ok(EINVAL);
    }
    let memory = memory_of(&mut caller)?;
    let data = memory.data_mut(&mut caller);
    let size = data.len();
    let bytes = slice_mut(data, address, length)
        .ok_or_else(|| out_of_bounds("random_get", address, length, size))?;
    getrandom::fill(bytes).map_err(|error| CallError::trap(error.to_string()))?;
    Ok(SUCCESS)
}

/// Standard input is empty.
fn fd_read(
    caller: Caller<'_, HostState>,
    fd: i32,
    _vectors: i32,
    _count: i32,
    read: i32,
) -> wasmtime::Result<i32> {
    if fd != 0 {
        return Ok(EBADF);
    }
    write(caller, "fd_read", read, &[0; 4])
}

fn fd_fdstat_get(caller: Caller<'_, HostState>, fd: i32, out: i32) -> wasmtime::Result<i32> {
    if standard(fd) != SUCCESS {
        return Ok(EBADF);
    }
    let mut stat = [0; 24];
    stat[0] = CHARACTER_DEVICE;
    write(caller, "fd_fdstat_get", out, &stat)
}

/// Standard output and error: whole lines go to the log, an unfinished one waits for its end, or
/// for the end of the call, however it ends.
///
/// A long write is answered as a short one, as POSIX allows: programs write the rest with further
/// calls, between which the worker can be given to others.
fn fd_write(
    mut caller: Caller<'_, HostState>,
    fd: i32,
    vectors: i32,
    count: i32,
    written: i32,
) -> wasmtime::Result<i32> {
    let stream = match fd {
        1 => Stream::Output,
        2 => Stream::Error,
        _ => return Ok(EBADF),
    };
    let memory = memory_of(&mut caller)?;
    let (data, state) = memory.data_and_store_mut(&mut caller);
    let (vectors, count) = (vectors.cast_unsigned(), count.cast_unsigned());
    let size = data.len();
    let table = count
        .checked_mul(8)
        .and_then(|bytes| slice(data, vectors, bytes))
        .ok_or_else(|| out_of_bounds("fd_write", vectors, count.saturating_mul(8), size))?;
    if count as usize > limits::PLUGIN_WRITE_VECTORS_MAX {
        return Ok(EINVAL);
    }
    let mut left = limits::PLUGIN_WRITE_BYTES_MAX;
    for vector in table.chunks_exact(8) {
        let [a0, a1, a2, a3, l0, l1, l2, l3] = *vector else {
            continue; // chunks_exact gives eight
        };
        let address = u32::from_le_bytes([a0, a1, a2, a3]);
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        let bytes = slice(data, address, length)
            .ok_or_else(|| out_of_bounds("fd_write", address, length, size))?;
        let taken = &bytes[..bytes.len().min(left)];
        log_lines(state, stream, taken);
        left -= taken.len();
        if left == 0 {
            break;
        }
    }
    let total = (limits::PLUGIN_WRITE_BYTES_MAX - left) as u32; // the bound is far below 2^32
    write(caller, "fd_write", written, &total.to_le_bytes())
}

/// Where a program writes text to.
#[derive(Debug, Clone, Copy)]
enum Stream {
    Output,
    Error,
}

impl Stream {
    fn level(self) -> LogLevel {
        match self {
            Self::Output => LogLevel::Info,
            Self::Error => LogLevel::Warn,
        }
    }

    fn line(self, state: &mut HostState) -> &mut Vec<u8> {
        let [output, error] = &mut state.lines;
        match self {
            Self::Output => output,
            Self::Error => error,
        }
    }
}

fn log_lines(state: &mut HostState, stream: Stream, mut bytes: &[u8]) {
    while let Some(end) = memchr::memchr(b'\n', bytes) {
        append_cut(stream.line(state), &bytes[..end]);
        bytes = &bytes[end + 1..];
        if !end_line(state, stream) {
            // No more is written in this second: what else there is need only be counted.
            let more = memchr::memchr_iter(b'\n', bytes).count();
            state.host.log.count_dropped(more as u64);
            bytes = memchr::memrchr(b'\n', bytes).map_or(bytes, |last| &bytes[last + 1..]);
        }
    }
    append_cut(stream.line(state), bytes);
}

/// Gives the line to the log, if there is one. Says whether the log takes more.
fn end_line(state: &mut HostState, stream: Stream) -> bool {
    let mut line = std::mem::take(stream.line(state));
    if matches!(stream, Stream::Error) {
        state.words.note(&line);
    }
    let takes_more = line.is_empty() || state.log(stream.level(), &line);
    line.clear();
    *stream.line(state) = line;
    takes_more
}

/// Appends what a log line still has room for.
fn append_cut(line: &mut Vec<u8>, bytes: &[u8]) {
    let room = limits::PLUGIN_LOG_LINE_BYTES_MAX.saturating_sub(line.len());
    line.extend_from_slice(&bytes[..bytes.len().min(room)]);
}

/// Waits for the earliest of the clocks that are asked for: how Go and C programs sleep. The guest
/// waits, the worker does not. Anything but a clock is answered at once with an error event.
async fn poll_oneoff(
    mut caller: Caller<'_, HostState>,
    from: i32,
    to: i32,
    count: i32,
    written: i32,
) -> wasmtime::Result<i32> {
    let now = unix_time(&caller);
    const SUBSCRIPTION: u32 = 48;
    let memory = memory_of(&mut caller)?;
    let (from, count) = (from.cast_unsigned(), count.cast_unsigned());
    let data = memory.data(&caller);
    let size = data.len();
    // More than a handful of clocks is no program's sleep.
    if !(1..=64).contains(&count) {
        return Ok(EINVAL);
    }
    let table = slice(data, from, count * SUBSCRIPTION)
        .ok_or_else(|| out_of_bounds("poll_oneoff", from, count * SUBSCRIPTION, size))?;
    let Some((user, wait)) = table
        .chunks_exact(SUBSCRIPTION as usize)
        .filter_map(|subscription| clock_of(subscription, now))
        .min_by_key(|(_, wait)| *wait)
    else {
        return Ok(ENOSYS);
    };
    let left = caller.data().check_deadline()?;
    if !wait.is_zero() {
        SendWrapper::new(crate::io::sleep(wait.min(left))).await;
        caller.data().check_deadline()?;
    }
    let mut event = [0; 32];
    event[..8].copy_from_slice(&user);
    write_in(&mut caller, "poll_oneoff", to, &event)?;
    write(caller, "poll_oneoff", written, &1_u32.to_le_bytes())
}

/// The user data and the time to wait of a subscription to a clock.
fn clock_of(subscription: &[u8], now: Duration) -> Option<([u8; 8], Duration)> {
    let user = subscription.get(..8)?.try_into().ok()?;
    if *subscription.get(8)? != 0 {
        return None;
    }
    let nanos = u64::from_le_bytes(subscription.get(24..32)?.try_into().ok()?);
    let absolute = subscription.get(40)? & 1 == 1;
    let wait = if absolute {
        Duration::from_nanos(nanos).saturating_sub(now)
    } else {
        Duration::from_nanos(nanos)
    };
    Some((user, wait))
}

/// Ends unfinished lines: the call is over, well or not.
pub(in super::super) fn flush(state: &mut HostState) {
    for stream in [Stream::Output, Stream::Error] {
        end_line(state, stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_to_a_clock_is_read() {
        let mut subscription = [0_u8; 48];
        subscription[0] = 7;
        subscription[24..32].copy_from_slice(&5_000_000_u64.to_le_bytes());
        let (user, wait) = clock_of(&subscription, Duration::from_secs(1)).unwrap();
        assert_eq!((user[0], wait), (7, Duration::from_millis(5)));
        subscription[40] = 1;
        assert_eq!(clock_of(&subscription, Duration::from_secs(1)).unwrap().1, Duration::ZERO);
        subscription[8] = 1;
        assert!(clock_of(&subscription, Duration::from_secs(1)).is_none());
    }
}
