//! The Rust sample of the extensions page: but for white space to the letter, down to the end of
//! `execute`; then what the page left out.
#![expect(dead_code, unused_variables, reason = "the sample makes nothing of its input")]
#![expect(clippy::not_unsafe_ptr_arg_deref, reason = "the sample's own signature")]
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Input {
    context: Context,
    input: serde_json::Value,
}

#[derive(Serialize)]
struct Result {
    modified: bool,
    continue_: bool,
    response: Option<serde_json::Value>,
    error: String,
}

#[no_mangle]
pub extern "C" fn execute(input_ptr: *const u8, input_len: usize) -> u64 {
    // Read input
    let input_data = unsafe { std::slice::from_raw_parts(input_ptr, input_len) };

    let input: Input = serde_json::from_slice(input_data).unwrap();

    // Process request
    // ... your logic here ...

    // Return result
    let result = Result { modified: true, continue_: true, response: None, error: String::new() };

    return_result(&result)
}

// --- left out by the page ---

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context {
    request_id: String,
}

/// Writes the output where it stays until the next call; the address in the low, the length in the
/// high 32 bits.
fn return_result(result: &Result) -> u64 {
    use std::cell::RefCell;
    thread_local! {
        static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    OUTPUT.with(|output| {
        let mut output = output.borrow_mut();
        *output = serde_json::to_vec(result).unwrap();
        (output.len() as u64) << 32 | output.as_ptr() as u64
    })
}
