//! The functions that a guest may import, and which of them a module gets.
//!
//! Every import is served by the type the module asks for: `log` exists with two and with three
//! parameters, `get_config` for C strings and for packed addresses. What is asked for and does not
//! exist is refused when the module is loaded, with its name, not when it is first called; except
//! WASI, where a function that we do not have answers an errno, as programs expect.
//!
//! One file per family. A function that waits (`wasi`'s `poll_oneoff`; outgoing calls and shared
//! state are of the same kind) bounds its own wait by the call's deadline
//! ([`HostState::check_deadline`]), so that no call needs a timer of its own.

mod config;
mod described;
mod env;
mod files;
mod http;
mod metrics;
mod state;
mod wasi;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use wasmtime::{Caller, ExternType, FuncType, Linker, Module, ValType};

use super::abi::Abi;
use super::failure::CallError;
use super::http_wasm;
use super::last_words::LastWords;
use super::memory;
use super::module::Uses;
use super::proxy_wasm;
use super::state::HostState;
use described::Way;

pub(super) use env::abort;
pub(super) use http::{Request, Unspoken, make as make_call, open_stream};

/// What an attempt to serve an import came to.
pub(super) enum Served {
    Yes,
    /// There is no such function, or not with these types.
    No,
}

pub(super) type LinkResult = wasmtime::Result<Served>;

/// Gives `linker` what `module` imports; the error names everything that cannot be served.
pub(super) fn link(
    linker: &mut Linker<HostState>,
    module: &Module,
    abi: &Abi,
) -> Result<(), String> {
    let mut refused = Vec::new();
    // By module and name: the linker knows a function by these alone.
    let mut served_as: HashMap<(&str, &str), String> = HashMap::new();
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let ExternType::Func(ty) = import.ty() else {
            refused.push(format!("{from}.{name} (not a function; a plugin has its own memory)"));
            continue;
        };
        let types = signature(&ty);
        match served_as.entry((from, name)) {
            Entry::Vacant(entry) => {
                entry.insert(types.clone());
            }
            Entry::Occupied(entry) if *entry.get() == types => continue,
            Entry::Occupied(entry) => {
                let other = entry.get();
                refused.push(format!("{from}.{name} both as ({other}) and as ({types})"));
                continue;
            }
        }
        let served = match from {
            "env" => match abi {
                Abi::Json(_) => env::serve(linker, name, &types),
                Abi::ProxyWasm(_) => proxy_wasm::serve(linker, name, &types),
                Abi::HttpWasm(_) => Ok(Served::No),
            },
            http_wasm::MODULE if matches!(abi, Abi::HttpWasm(_)) => {
                http_wasm::serve(linker, name, &types)
            }
            "wasi_snapshot_preview1" | "wasi_unstable" => {
                wasi::serve(linker, from, name, &types, ty)
            }
            _ => Ok(Served::No),
        };
        match served {
            Ok(Served::Yes) => {}
            Ok(Served::No) => {
                let forms = match (from, abi) {
                    ("env", Abi::Json(_)) => described::forms(name),
                    _ => String::new(),
                };
                refused.push(match forms.is_empty() {
                    true => format!("{from}.{name}({types})"),
                    false => format!("{from}.{name}({types}), which is there as ({forms})"),
                });
            }
            Err(error) => refused.push(format!("{from}.{name}: {error}")),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    let known = described::known();
    Err(format!(
        "the module imports what this gateway does not have: {}; it has {} from env, \
         and wasi_snapshot_preview1",
        refused.join(", "),
        match abi {
            Abi::Json(_) => &known,
            Abi::HttpWasm(_) => "none (but those of http-wasm from http_handler)",
            Abi::ProxyWasm(_) => "the functions of proxy-wasm 0.2.1 and 0.1.0 (proxy_*)",
        }
    ))
}

/// Which ways out of its memory a module imports.
pub(super) fn uses(module: &Module) -> Uses {
    let leads = |way, of_envoy: &[&str]| {
        let mut names = module.imports().filter(|import| import.module() == "env");
        names
            .any(|import| described::leads(import.name(), way) || of_envoy.contains(&import.name()))
    };
    Uses {
        http: leads(Way::Http, &["proxy_http_call", "proxy_grpc_call", "proxy_grpc_stream"]),
        state: leads(Way::State, &[]),
        files: leads(Way::Files, &[]),
    }
}

/// A function's types in short: `i32 i32 -> i64`.
pub(super) fn signature(ty: &FuncType) -> String {
    let list = |types: &mut dyn Iterator<Item = ValType>| {
        types.map(|ty| ty.to_string()).collect::<Vec<_>>().join(" ")
    };
    let params = list(&mut ty.params());
    let results = list(&mut ty.results());
    format!("{params} -> {results}").trim().to_owned()
}

/// The bytes that a guest passes to the host function `what`.
fn bytes<'a>(
    caller: &'a mut Caller<'_, HostState>,
    what: &str,
    address: i32,
    length: i32,
) -> Result<(&'a [u8], &'a mut HostState), CallError> {
    let memory = memory_of(caller)?;
    let (data, state) = memory.data_and_store_mut(caller);
    let (address, length) = (address.cast_unsigned(), length.cast_unsigned());
    let size = data.len();
    let bytes = memory::slice(data, address, length)
        .ok_or_else(|| memory::out_of_bounds(what, address, length, size))?;
    Ok((bytes, state))
}

/// The guest's memory, also while its start function runs.
pub(super) fn memory_of(caller: &mut Caller<'_, HostState>) -> Result<wasmtime::Memory, CallError> {
    if let Some(memory) = caller.data().memory {
        return Ok(memory);
    }
    caller
        .get_export("memory")
        .and_then(wasmtime::Extern::into_memory)
        .ok_or_else(|| CallError::trap("the plugin exports no memory"))
}

/// The bytes of a C string, without its NUL; nothing for the null pointer.
fn c_string(
    caller: &mut Caller<'_, HostState>,
    what: &str,
    address: i32,
    most: usize,
) -> Result<Vec<u8>, CallError> {
    if address == 0 {
        return Ok(Vec::new());
    }
    let memory = memory_of(caller)?;
    let start = address.cast_unsigned() as usize;
    let rest = memory.data(&*caller).get(start..).unwrap_or_default();
    let window = &rest[..rest.len().min(most + 1)];
    match memchr::memchr(0, window) {
        Some(length) => Ok(window[..length].to_vec()),
        None => Err(CallError::trap(format!(
            "{what}: no NUL ends the text at address {start} within {most} bytes"
        ))),
    }
}

/// An address and a length as one result: the address in the low 32 bits.
fn packed(address: u32, length: usize) -> i64 {
    // The length of something in a memory of 32 bits.
    ((length as u64) << 32 | u64::from(address)).cast_signed()
}

/// What the guest wrote last; an unfinished line too.
pub(super) fn last_words(state: &mut HostState) -> &LastWords {
    end_of_call(state);
    &state.words
}

/// A call is over, well or not: what it left unfinished (a line of output) is let go.
pub(super) fn end_of_call(state: &mut HostState) {
    wasi::flush(state);
}

#[cfg(test)]
mod tests;
