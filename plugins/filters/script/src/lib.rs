//! A guest of proxy-wasm without an SDK: it does in each callback what its configuration says, and
//! logs each callback with its arguments and each call with its status and results. What any host
//! logs for a script can so be compared (`tests/proxy-wasm/README.md` says what a script is).
#![allow(missing_docs, reason = "the ABI's functions")]

mod abi;
mod script;

use std::cell::RefCell;

use script::{Script, State};

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_abi_version_0_2_1() {}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::leak(vec![0; size].into_boxed_slice()).as_mut_ptr()
}

/// Logs the callback and runs what the script has for it.
fn run(name: &str, args: &[i32], answer: i32) -> i32 {
    let mut text = name.to_owned();
    for arg in args {
        text.push_str(&format!(" {arg}"));
    }
    script::log(&text);
    // Taken out: a host that enters again finds an empty script instead of a trap.
    let mut state = STATE.with(RefCell::take);
    let answer = state.run(name, args).unwrap_or(answer);
    STATE.with(|known| *known.borrow_mut() = state);
    answer
}

macro_rules! callbacks {
    ($($export:ident $name:literal ($($arg:ident),*) $(-> $answer:literal)?;)*) => {
        $(callbacks!(@one $export $name ($($arg),*) $($answer)?);)*
    };
    (@one $export:ident $name:literal ($($arg:ident),*)) => {
        #[unsafe(no_mangle)]
        pub extern "C" fn $export($($arg: i32),*) {
            run($name, &[$($arg),*], 0);
        }
    };
    (@one $export:ident $name:literal ($($arg:ident),*) $answer:literal) => {
        #[unsafe(no_mangle)]
        pub extern "C" fn $export($($arg: i32),*) -> i32 {
            run($name, &[$($arg),*], $answer)
        }
    };
}

callbacks! {
    proxy_on_context_create "context_create" (id, parent);
    proxy_on_request_headers "request_headers" (id, count, end) -> 0;
    proxy_on_request_body "request_body" (id, size, end) -> 0;
    proxy_on_request_trailers "request_trailers" (id, count) -> 0;
    proxy_on_response_headers "response_headers" (id, count, end) -> 0;
    proxy_on_response_body "response_body" (id, size, end) -> 0;
    proxy_on_response_trailers "response_trailers" (id, count) -> 0;
    proxy_on_http_call_response "http_call_response" (id, token, headers, size, trailers);
    proxy_on_grpc_receive_initial_metadata "grpc_initial" (id, token, count);
    proxy_on_grpc_receive "grpc_receive" (id, token, size);
    proxy_on_grpc_receive_trailing_metadata "grpc_trailing" (id, token, count);
    proxy_on_grpc_close "grpc_close" (id, token, status);
    proxy_on_tick "tick" (id);
    proxy_on_queue_ready "queue_ready" (id, queue);
    proxy_on_foreign_function "foreign_function" (id, function, size);
    proxy_on_done "done" (id) -> 1;
    proxy_on_log "log" (id);
    proxy_on_delete "delete" (id);
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_vm_start(id: i32, size: i32) -> i32 {
    // The script is not here yet: what the virtual machine is configured with is one, too.
    load(6, size);
    run("vm_start", &[id, size], 1)
}

#[unsafe(no_mangle)]
pub extern "C" fn proxy_on_configure(id: i32, size: i32) -> i32 {
    load(7, size);
    run("configure", &[id, size], 1)
}

/// Adds the sections of a configuration.
fn load(buffer: i64, size: i32) {
    if size == 0 {
        return;
    }
    let mut place = [0_u32; 2];
    let at = place.as_mut_ptr() as i64;
    let args = [buffer, 0, i64::from(size), at, at + 4];
    if abi::call("proxy_get_buffer_bytes", &args) != Some(0) {
        script::log("the configuration cannot be read");
        return;
    }
    let text = script::bytes(place[0], place[1]);
    let script = Script::read(&String::from_utf8_lossy(text));
    STATE.with(|state| state.borrow_mut().add(script));
}
