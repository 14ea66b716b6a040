//! A plugin for tests: does what its configuration says and shows what it was given.
//!
//! | key | what it does |
//! |---|---|
//! | `name` | stands in the headers below; default `probe` |
//! | `phase` | acts in this phase only; in the other the message passes unchanged |
//! | `respond` | this object is the output, verbatim; all the following is left out |
//! | `error` | the output is an error with this text and no `continue` |
//! | `show: {suffix: pointer}` | header `x-probe-<name>-<suffix>`: what stands at the JSON pointer in the input (`/context/phase`), as JSON in ASCII; `absent` if nothing does |
//! | `showAll` | the whole input, as JSON in ASCII: in the header `x-probe-<name>` (`header`), the body (`body`), or the metadata under `<name>` (`metadata`) |
//! | `getConfig: {suffix: key}` | header `x-probe-<name>-<suffix>`: what the host function gives for the key; `absent` if nothing |
//! | `time` | header `x-probe-<name>-time`: Unix seconds from the host |
//! | `calls` | header `x-probe-<name>-calls`: how many calls this instance has had, this one included |
//! | `grow` | takes this many pages of memory; header `x-probe-<name>-grow`: `granted` or `refused` |
//! | `log: [{level, text}]` | log lines; levels are 0 (trace) to 4 (error) |
//! | `metadata` | entries for later plugins |
//! | `trapOn`, `spinOn` | traps, or never returns, when the request has this header |
//! | `burn` | counts to this number of thousands before it answers |

#![expect(unsafe_code, reason = "the bare ABI: the SDK would hide the input's text")]

use std::cell::{Cell, RefCell};

use odin_plugin::host::{self, Level};
use serde_json::{Map, Value, json};

const UNCHANGED: &str = r#"{"modified":false,"continue":true}"#;

/// One call, from the input's JSON to the output's.
fn call(input: &str, calls: u32) -> String {
    let Ok(input) = serde_json::from_str::<Value>(input) else {
        return r#"{"error":"the probe got an input that is not JSON"}"#.to_owned();
    };
    let config = &input["config"];
    let phase = &input["context"]["phase"];
    if config.get("phase").is_some_and(|wanted| wanted != phase) {
        return UNCHANGED.to_owned();
    }
    misbehave(&input);
    if let Some(respond) = config.get("respond") {
        return respond.to_string();
    }
    if let Some(error) = config.get("error") {
        return json!({"error": error}).to_string();
    }
    write_log(config);
    answer(&input, calls)
}

fn misbehave(input: &Value) {
    let config = &input["config"];
    if has_header(input, &config["trapOn"]) {
        panic!("the probe was told to trap");
    }
    while has_header(input, &config["spinOn"]) {
        std::hint::spin_loop();
    }
    for round in 0..config["burn"].as_u64().unwrap_or(0) * 1000 {
        std::hint::black_box(round);
    }
}

fn has_header(input: &Value, name: &Value) -> bool {
    let Some(name) = name.as_str() else {
        return false;
    };
    let message = input["input"].get("request").unwrap_or(&input["input"]);
    let headers = message["headers"].as_object();
    headers.is_some_and(|headers| headers.keys().any(|known| known.eq_ignore_ascii_case(name)))
}

fn write_log(config: &Value) {
    for line in config["log"].as_array().into_iter().flatten() {
        let level = match line["level"].as_u64() {
            Some(0) => Level::Trace,
            Some(1) => Level::Debug,
            Some(3) => Level::Warn,
            Some(4) => Level::Error,
            _ => Level::Info,
        };
        host::log(level, line["text"].as_str().unwrap_or_default());
    }
}

fn answer(input: &Value, calls: u32) -> String {
    let config = &input["config"];
    let name = config["name"].as_str().unwrap_or("probe");
    let mut headers = Map::new();
    let mut set = |suffix: &str, value: String| {
        headers.insert(format!("x-probe-{name}{suffix}"), json!([value]));
    };
    for (suffix, pointer) in entries(&config["show"]) {
        let shown = input.pointer(pointer).map_or("absent".to_owned(), ascii);
        set(&format!("-{suffix}"), shown);
    }
    for (suffix, key) in entries(&config["getConfig"]) {
        set(&format!("-{suffix}"), host::config_text(key).unwrap_or("absent".to_owned()));
    }
    if config["time"] == true {
        set("-time", host::now_seconds().to_string());
    }
    if config["calls"] == true {
        set("-calls", calls.to_string());
    }
    if let Some(pages) = config["grow"].as_u64() {
        set("-grow", grow(pages).to_owned());
    }
    let mut metadata = config["metadata"].as_object().cloned().unwrap_or_default();
    let mut body = None;
    match config["showAll"].as_str() {
        Some("header") => set("", ascii(input)),
        Some("body") => body = Some(ascii(input)),
        Some("metadata") => drop(metadata.insert(name.to_owned(), input.clone())),
        _ => {}
    }
    output(headers, body, metadata).to_string()
}

fn output(
    headers: Map<String, Value>,
    body: Option<String>,
    metadata: Map<String, Value>,
) -> Value {
    let mut response = Map::new();
    if !headers.is_empty() {
        response.insert("headers".to_owned(), Value::Object(headers));
    }
    if let Some(body) = body {
        response.insert("body".to_owned(), Value::String(body));
    }
    let mut output = json!({"modified": !response.is_empty(), "continue": true});
    if !response.is_empty() {
        output["response"] = Value::Object(response);
    }
    if !metadata.is_empty() {
        output["metadata"] = Value::Object(metadata);
    }
    output
}

fn entries(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    let entries = object.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

/// JSON that a header value can carry: everything beyond ASCII as an escape.
fn ascii(value: &Value) -> String {
    let mut text = String::new();
    for unit in value.to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() && byte != 0x7f => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
    text
}

#[cfg(target_arch = "wasm32")]
fn grow(pages: u64) -> &'static str {
    let pages = usize::try_from(pages).unwrap_or(usize::MAX);
    match core::arch::wasm32::memory_grow(0, pages) {
        usize::MAX => "refused",
        _ => "granted",
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn grow(_: u64) -> &'static str {
    "refused"
}

thread_local! {
    static CALLS: Cell<u32> = const { Cell::new(0) };
    /// Stays where it is until the host has read it.
    static OUTPUT: RefCell<String> = const { RefCell::new(String::new()) };
}

#[unsafe(no_mangle)]
extern "C" fn init() {
    odin_plugin::abi::report_panics();
}

#[unsafe(no_mangle)]
extern "C" fn alloc(size: usize) -> usize {
    odin_plugin::abi::alloc(size)
}

#[unsafe(no_mangle)]
extern "C" fn dealloc(address: usize, size: usize) {
    odin_plugin::abi::dealloc(address, size);
}

#[unsafe(no_mangle)]
extern "C" fn execute(address: usize, len: usize) -> u64 {
    CALLS.set(CALLS.get() + 1);
    let input = odin_plugin::abi::bytes(address, len);
    let output = call(&String::from_utf8_lossy(input), CALLS.get());
    OUTPUT.with_borrow_mut(|kept| {
        *kept = output;
        odin_plugin::abi::pack(kept.as_ptr() as usize, kept.len())
    })
}
