//! One module for everything that can go wrong in `execute`: `config.mode` says what.
//!
//! A request with the header `x-canary: spare` is let pass in every mode, so that a test can see an
//! instance (or its successor) work again.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "exported functions are unsafe attributes")]

use canary::{UNCHANGED, constant, pack};

canary::export_alloc!();

#[unsafe(no_mangle)]
extern "C" fn execute(address: usize, len: usize) -> u64 {
    // SAFETY: the host wrote `len` bytes there, in a buffer that `alloc` made.
    let input = unsafe {
        std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(address), len)
    };
    let input = String::from_utf8_lossy(input);
    if input.contains(r#""x-canary":["spare"]"#) {
        return constant(UNCHANGED);
    }
    let mode = string_after(&input, r#""mode":""#).unwrap_or_default();
    misbehave(mode).unwrap_or_else(|| output(mode))
}

/// The text between `key` and the next quote.
fn string_after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(key)?;
    rest.split('"').next()
}

/// What goes wrong before there is an output, or in where the output is said to be.
fn misbehave(mode: &str) -> Option<u64> {
    let memory_end = core::arch::wasm32::memory_size(0) * 65536;
    Some(match mode {
        "spin" => spin(),
        "hog" => hog(),
        "recurse" => recurse(1),
        "trap" => std::process::abort(),
        "panic" => panic!("the canary was told to panic"),
        "unreachable" => core::arch::wasm32::unreachable(),
        "flood" => flood(),
        "pointer-past-end" => pack(memory_end, 10),
        "pointer-near-end" => pack(memory_end - 5, 10),
        "pointer-wraps" => pack(0xffff_fff0, 0x20),
        "pointer-negative" => u64::MAX,
        "length-whole-memory" => pack(0, memory_end),
        "length-4-gib" => pack(1024, 0xffff_ffff),
        "length-zero" => pack(1024, 0),
        "null" => 0,
        _ => return None,
    })
}

fn spin() -> u64 {
    loop {
        std::hint::spin_loop();
    }
}

/// Takes memory until there is none, touching each page, and then traps as Rust does.
fn hog() -> u64 {
    const STEP_BYTES: usize = 256 * 1024;
    loop {
        std::hint::black_box(vec![1u8; STEP_BYTES].leak());
    }
}

/// Uses the stack without end. The frames are large, so that the linear stack runs out as well.
#[expect(unconditional_recursion, reason = "that is the misbehaviour")]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame[1]
}

/// A well-formed output whose body is as large as the memory takes. Filled at once: byte by byte it
/// takes as long as the plugin's timeout where the machine is busy.
fn flood() -> u64 {
    let mut text = Vec::from(r#"{"modified":true,"continue":false,"response":{"body":""#);
    let tail = br#""}}"#;
    let room = text.len() + tail.len();
    let mut body_bytes = 64 * 1024 * 1024;
    while text.try_reserve_exact(body_bytes + room).is_err() {
        body_bytes /= 2;
    }
    text.resize(text.len() + body_bytes, b'x');
    text.extend(tail);
    let text = text.leak();
    pack(text.as_ptr() as usize, text.len())
}

/// Outputs that are where they should be and are not what they should be.
fn output(mode: &str) -> u64 {
    match mode {
        "not-json" => constant("this is not JSON"),
        "json-truncated" => constant(r#"{"modified":true,"continue":true,"response":{"headers":{"#),
        "json-trailing" => constant(r#"{"modified":false,"continue":true} and more"#),
        "json-not-object" => constant("[1,2,3]"),
        "json-wrong-types" => {
            constant(r#"{"modified":"yes","continue":1,"response":[],"error":{},"metadata":"x"}"#)
        }
        "json-deep" => deep(),
        "not-utf8" => {
            const BYTES: &[u8] = b"{\"modified\":false,\"continue\":true,\"error\":\"\xff\xfe\"}";
            pack(BYTES.as_ptr() as usize, BYTES.len())
        }
        "no-continue" => constant(r#"{"modified":false}"#),
        "error-only" => constant(r#"{"error":"the canary could not decide"}"#),
        _ => header(mode),
    }
}

fn deep() -> u64 {
    let text = "[".repeat(100_000).leak();
    pack(text.as_ptr() as usize, text.len())
}

/// Outputs that would break the wire.
fn header(mode: &str) -> u64 {
    let headers = match mode {
        "crlf-value" => r#"{"x-canary":["a\r\nx-smuggled: 1"]}"#,
        "lf-value" => r#"{"x-canary":["a\nx-smuggled: 1"]}"#,
        "nul-value" => r#"{"x-canary":["a\u0000b"]}"#,
        "crlf-name" => r#"{"x-canary\r\nx-smuggled":["1"]}"#,
        "space-name" => r#"{"x canary":["1"]}"#,
        "colon-name" => r#"{"x-canary:":["1"]}"#,
        "empty-name" => r#"{"":["1"]}"#,
        "content-length" => r#"{"Content-Length":["5"]}"#,
        "transfer-encoding" => r#"{"transfer-encoding":["chunked"]}"#,
        "connection" => r#"{"Connection":["x-canary"]}"#,
        "header-flood" => return header_flood(),
        "status-99" => return status(99),
        "status-1000" => return status(1000),
        "status-101" => return status(101),
        "status-204-body" => {
            let text =
                r#"{"modified":true,"continue":false,"response":{"statusCode":204,"body":"x"}}"#;
            return constant(text);
        }
        _ => return constant(r#"{"error":"config.mode names nothing that this canary knows"}"#),
    };
    leak(format!(r#"{{"modified":true,"continue":true,"response":{{"headers":{headers}}}}}"#))
}

fn status(code: u32) -> u64 {
    leak(format!(r#"{{"modified":true,"continue":false,"response":{{"statusCode":{code}}}}}"#))
}

/// More headers than any peer takes, each of them sound.
fn header_flood() -> u64 {
    let headers: Vec<String> = (0..5000).map(|n| format!(r#""x-flood-{n}":["{n}"]"#)).collect();
    let headers = headers.join(",");
    leak(format!(r#"{{"modified":true,"continue":true,"response":{{"headers":{{{headers}}}}}}}"#))
}

fn leak(text: String) -> u64 {
    let text = text.leak();
    pack(text.as_ptr() as usize, text.len())
}
