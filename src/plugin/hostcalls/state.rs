//! `env.kv_*`: the plugin's shared state, in memory or in Redis.
//!
//! The guest waits, the worker does not. A failure is a number: the guest may decide what it means
//! (the SDKs end the call, so that the plugin's failure mode decides); the log says it in words.

use std::time::{Duration, Instant};

use send_wrapper::SendWrapper;
use wasmtime::{Caller, Linker};

use super::super::failure::CallError;
use super::super::memory::{self, out_of_bounds, slice};
use super::super::spec::LogLevel;
use super::super::state::HostState;
use super::{LinkResult, Served, memory_of, packed};
use crate::kv::{Cas, Error, Store};

/// A key, a value or an expected value is over its limit, or the key is empty.
const INVALID: i32 = -1;
/// The value is not a number, or the sum leaves 64 bits.
const NOT_A_NUMBER: i32 = -2;
/// The store is full.
const FULL: i32 = -3;
/// Redis is down, silent or overloaded. A write may have been made or not.
const UNAVAILABLE: i32 = -4;
/// Redis refused.
const REFUSED: i32 = -5;

pub(super) fn serve(linker: &mut Linker<HostState>, name: &str, types: &str) -> LinkResult {
    match (name, types) {
        ("kv_get", "i32 i32 -> i64") => {
            linker.func_wrap_async("env", name, |caller, key: (i32, i32)| {
                Box::new(get(caller, key))
            })?;
        }
        ("kv_set", "i32 i32 i32 i32 i64 -> i32") => {
            linker.func_wrap_async(
                "env",
                name,
                |caller, (k, kl, v, vl, ttl): (i32, i32, i32, i32, i64)| {
                    Box::new(set(caller, (k, kl), (v, vl), ttl))
                },
            )?;
        }
        ("kv_incr", "i32 i32 i64 i64 -> i64") => {
            linker.func_wrap_async(
                "env",
                name,
                |caller, (k, kl, delta, ttl): (i32, i32, i64, i64)| {
                    Box::new(incr(caller, (k, kl), delta, ttl))
                },
            )?;
        }
        ("kv_delete", "i32 i32 -> i32") => {
            linker.func_wrap_async("env", name, |caller, key: (i32, i32)| {
                Box::new(delete(caller, key))
            })?;
        }
        ("kv_cas", "i32 i32 i32 i32 i32 i32 i64 -> i32") => {
            linker.func_wrap_async(
                "env",
                name,
                |caller, (k, kl, o, ol, n, nl, ttl): (i32, i32, i32, i32, i32, i32, i64)| {
                    Box::new(cas(caller, (k, kl), (o, ol), (n, nl), ttl))
                },
            )?;
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// An address and a length as the guest passes them.
type Place = (i32, i32);

/// `kv_get(key, len) -> i64`: the packed value, 0 if there is none, negative on an error.
async fn get(mut caller: Caller<'_, HostState>, key: Place) -> wasmtime::Result<i64> {
    let outcome = {
        let (data, state) = open(&mut caller)?;
        let key = arg(data, "kv_get: the key", key)?;
        let got = async |store: &Store, now| store.get(key, now).await;
        within(state, "kv_get", got).await?
    };
    match outcome {
        Ok(Some(value)) => {
            let memory = memory_of(&mut caller)?;
            let address = memory::reply(&mut caller, memory, &value).await?;
            Ok(packed(address, value.len()))
        }
        Ok(None) => Ok(0),
        // A packed value is never negative: lengths have 31 bits.
        Err(code) => Ok(i64::from(code)),
    }
}

/// `kv_set(key, len, value, len, ttl_ms) -> i32`: 0, negative on an error.
async fn set(
    mut caller: Caller<'_, HostState>,
    key: Place,
    value: Place,
    ttl: i64,
) -> wasmtime::Result<i32> {
    let (data, state) = open(&mut caller)?;
    let key = arg(data, "kv_set: the key", key)?;
    let value = arg(data, "kv_set: the value", value)?;
    let made = async |store: &Store, now| store.set(key, value, ttl_of(ttl), now).await;
    let outcome = within(state, "kv_set", made).await?;
    Ok(outcome.map_or_else(|code| code, |()| 0))
}

/// `kv_incr(key, len, delta, ttl_ms) -> i64`: the sum, `i64::MIN` on an error.
async fn incr(
    mut caller: Caller<'_, HostState>,
    key: Place,
    delta: i64,
    ttl: i64,
) -> wasmtime::Result<i64> {
    let (data, state) = open(&mut caller)?;
    let key = arg(data, "kv_incr: the key", key)?;
    let made = async |store: &Store, now| store.incr(key, delta, ttl_of(ttl), now).await;
    let outcome = within(state, "kv_incr", made).await?;
    Ok(outcome.unwrap_or(i64::MIN))
}

/// `kv_delete(key, len) -> i32`: 1 if it was there, 0 if not, negative on an error.
async fn delete(mut caller: Caller<'_, HostState>, key: Place) -> wasmtime::Result<i32> {
    let (data, state) = open(&mut caller)?;
    let key = arg(data, "kv_delete: the key", key)?;
    let made = async |store: &Store, now| store.delete(key, now).await;
    let outcome = within(state, "kv_delete", made).await?;
    Ok(outcome.map_or_else(|code| code, i32::from))
}

/// `kv_cas(key, len, old, len, new, len, ttl_ms) -> i32`: 1 if the key had the old value (length
/// -1: was not there) and has the new one, 0 if not, negative on an error.
async fn cas(
    mut caller: Caller<'_, HostState>,
    key: Place,
    old: Place,
    new: Place,
    ttl: i64,
) -> wasmtime::Result<i32> {
    let (data, state) = open(&mut caller)?;
    let key = arg(data, "kv_cas: the key", key)?;
    let old = match old {
        (_, -1) => None,
        place => Some(arg(data, "kv_cas: the old value", place)?),
    };
    let new = arg(data, "kv_cas: the new value", new)?;
    let made = async |store: &Store, now| {
        let ttl = ttl_of(ttl);
        store.compare_and_set(key, old, new, ttl, now).await
    };
    let outcome = within(state, "kv_cas", made).await?;
    Ok(outcome.map_or_else(|code| code, |cas| i32::from(cas == Cas::Swapped)))
}

/// The guest's memory and the state beside it, both for the time of the operation: nothing is
/// copied, and the guest does not run meanwhile.
fn open<'a>(caller: &'a mut Caller<'_, HostState>) -> Result<(&'a [u8], &'a HostState), CallError> {
    let memory = memory_of(caller)?;
    let (data, state) = memory.data_and_store_mut(caller);
    Ok((data, state))
}

fn arg<'a>(data: &'a [u8], what: &str, (address, length): Place) -> Result<&'a [u8], CallError> {
    let (address, length) = (address.cast_unsigned(), length.cast_unsigned());
    slice(data, address, length).ok_or_else(|| out_of_bounds(what, address, length, data.len()))
}

/// 0 and less: for good.
fn ttl_of(millis: i64) -> Option<Duration> {
    let millis = u64::try_from(millis).ok().filter(|&millis| millis > 0)?;
    Some(Duration::from_millis(millis))
}

/// Runs one operation within the time that the call has left; the inner error is what the guest
/// gets.
async fn within<T>(
    state: &HostState,
    what: &str,
    operation: impl AsyncFnOnce(&Store, Instant) -> Result<T, Error>,
) -> wasmtime::Result<Result<T, i32>> {
    // Both stay on this thread, as the store does.
    let state = SendWrapper::new(state);
    let what = what.to_owned();
    let run = async move {
        let Some(store) = &state.host.store else {
            tell(&state, &what, "the plugin was given no shared state");
            return Ok(Err(UNAVAILABLE));
        };
        let outcome = match store {
            Store::Memory(_) => operation(store, state.host.scene.instant()).await,
            Store::Redis(_) => {
                let left = state.check_deadline()?;
                let operation = operation(store, Instant::now());
                match crate::io::timeout(left, operation).await {
                    Ok(outcome) => outcome,
                    Err(_) => Err(Error::Timeout(left.as_millis() as u64)),
                }
            }
        };
        Ok(outcome.map_err(|error| {
            tell(&state, &what, &error.to_string());
            code_of(&error)
        }))
    };
    SendWrapper::new(run).await
}

fn tell(state: &HostState, what: &str, why: &str) {
    let text = format!("{what}: {why}");
    state.host.log.gateway(LogLevel::Warn, state.ids(), &text);
}

fn code_of(error: &Error) -> i32 {
    match error {
        Error::KeySize(_) | Error::ValueSize(_) | Error::ExpectedSize(_) => INVALID,
        Error::NotAnInteger | Error::Overflow => NOT_A_NUMBER,
        Error::Full => FULL,
        Error::Unavailable(_) | Error::Broken(_) | Error::Timeout(_) | Error::Busy => UNAVAILABLE,
        Error::Refused(_) => REFUSED,
    }
}
