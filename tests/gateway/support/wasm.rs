//! Guests written as WebAssembly text, so that a test shows exactly what its plugin does.
//!
//! None of them exports an allocator: the gateway gives them a region of its own (`memory.grow`),
//! which is why their own data stays in their first pages.

use std::fmt::Write as _;

/// A module from its text.
pub fn module(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// `text` as a string of the text format.
fn literal(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        write!(out, "\\{byte:02x}").unwrap();
    }
    out
}

/// A guest that returns `output` whatever it is given.
pub fn answering(output: &str) -> Vec<u8> {
    module(&format!(
        r#"(module
            (memory (export "memory") {pages})
            (data (i32.const 1024) "{data}")
            (func (export "execute") (param i32 i32) (result i64)
              (i64.or (i64.shl (i64.const {len}) (i64.const 32)) (i64.const 1024))))"#,
        pages = 1 + (1024 + output.len()) / 65536,
        data = literal(output),
        len = output.len(),
    ))
}

/// A guest that changes nothing.
pub fn passing() -> Vec<u8> {
    answering(r#"{"modified":false,"continue":true}"#)
}

/// A guest that lets the message go on and sets headers: `sets` is the inside of a JSON object of
/// `"Name":["value"]` pairs.
pub fn setting_headers(sets: &str) -> Vec<u8> {
    answering(&format!(
        r#"{{"modified":true,"continue":true,"response":{{"headers":{{{sets}}}}}}}"#
    ))
}

/// A guest that returns `prefix`, its input written as the inside of a JSON string, `suffix`.
pub fn quoting(prefix: &str, suffix: &str) -> Vec<u8> {
    module(&format!(
        r#"(module
            (memory (export "memory") 64)
            (data (i32.const 1024) "{prefix}")
            (data (i32.const 8192) "{suffix}")
            (func $put (param $out i32) (param $byte i32) (result i32)
              (i32.store8 (local.get $out) (local.get $byte))
              (i32.add (local.get $out) (i32.const 1)))
            (func (export "execute") (param $at i32) (param $len i32) (result i64)
              (local $out i32) (local $end i32) (local $byte i32)
              (local.set $out (i32.const 65536))
              (memory.copy (local.get $out) (i32.const 1024) (i32.const {prefix_len}))
              (local.set $out (i32.add (local.get $out) (i32.const {prefix_len})))
              (local.set $end (i32.add (local.get $at) (local.get $len)))
              (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
                (local.set $byte (i32.load8_u (local.get $at)))
                (if (i32.or (i32.eq (local.get $byte) (i32.const 34))
                            (i32.eq (local.get $byte) (i32.const 92)))
                  (then (local.set $out (call $put (local.get $out) (i32.const 92)))))
                (local.set $out (call $put (local.get $out) (local.get $byte)))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br $next)))
              (memory.copy (local.get $out) (i32.const 8192) (i32.const {suffix_len}))
              (local.set $out (i32.add (local.get $out) (i32.const {suffix_len})))
              (i64.or
                (i64.shl (i64.extend_i32_u (i32.sub (local.get $out) (i32.const 65536)))
                         (i64.const 32))
                (i64.const 65536))))"#,
        prefix = literal(prefix),
        suffix = literal(suffix),
        prefix_len = prefix.len(),
        suffix_len = suffix.len(),
    ))
}

/// A guest that refuses with 299 and its own input as the body: shows what a plugin is given.
pub fn showing_input() -> Vec<u8> {
    quoting(
        r#"{"modified":true,"continue":false,"response":{"statusCode":299,"headers":{},"body":""#,
        r#""}}"#,
    )
}

/// A guest that replaces the body of a message by its own input.
pub fn replacing_body_by_input() -> Vec<u8> {
    quoting(r#"{"modified":true,"continue":true,"response":{"body":""#, r#""}}"#)
}

/// What [`obeying`] does when its input holds the word.
pub const DEEDS: &str = "do-trap do-spin do-hog do-garbage do-error do-pointer do-refuse";

/// A guest that misbehaves when its input (a header's value, say) holds a word of [`DEEDS`], and
/// passes everything else.
pub fn obeying() -> Vec<u8> {
    let answers = [
        ("do-garbage", "this is not JSON"),
        ("do-error", r#"{"modified":false,"error":"the guest gave up"}"#),
        ("do-refuse", r#"{"modified":false,"continue":false,"error":"the guest refuses"}"#),
    ];
    let mut branches = String::new();
    let mut data = String::new();
    for (number, (word, answer)) in answers.iter().enumerate() {
        let at = 4096 + number * 256;
        writeln!(data, r#"(data (i32.const {at}) "{}")"#, literal(answer)).unwrap();
        branches.push_str(&branch(
            word,
            &format!("(return (call $pack (i32.const {at}) (i32.const {})))", answer.len()),
        ));
    }
    branches.push_str(&branch("do-trap", "unreachable"));
    branches.push_str(&branch("do-spin", "(loop $spin (br $spin))"));
    branches.push_str(&branch(
        "do-hog",
        "(loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
           unreachable",
    ));
    branches
        .push_str(&branch("do-pointer", "(return (call $pack (i32.const -16) (i32.const 4096)))"));
    let pass = r#"{"modified":false,"continue":true}"#;
    module(&format!(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 1024) "{pass_data}")
            {data}
            (data (i32.const 512) "{DEEDS}")
            (func $pack (param $at i32) (param $len i32) (result i64)
              (i64.or (i64.shl (i64.extend_i32_u (local.get $len)) (i64.const 32))
                      (i64.extend_i32_u (local.get $at))))
            (func $holds (param $at i32) (param $end i32) (param $word i32) (param $len i32)
              (result i32) (local $i i32)
              (loop $next
                (if (i32.gt_u (i32.add (local.get $at) (local.get $len)) (local.get $end))
                  (then (return (i32.const 0))))
                (local.set $i (i32.const 0))
                (block $differs
                  (loop $same
                    (br_if $differs (i32.ne
                      (i32.load8_u (i32.add (local.get $at) (local.get $i)))
                      (i32.load8_u (i32.add (local.get $word) (local.get $i)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $same (i32.lt_u (local.get $i) (local.get $len)))
                    (return (i32.const 1))))
                (local.set $at (i32.add (local.get $at) (i32.const 1)))
                (br $next))
              unreachable)
            (func (export "execute") (param $at i32) (param $len i32) (result i64)
              (local $end i32)
              (local.set $end (i32.add (local.get $at) (local.get $len)))
              {branches}
              (call $pack (i32.const 1024) (i32.const {pass_len}))))"#,
        pass_data = literal(pass),
        pass_len = pass.len(),
    ))
}

/// Code that does `deed` if the input holds `word`.
fn branch(word: &str, deed: &str) -> String {
    let at = 512 + DEEDS.find(word).expect("the table holds every word");
    format!(
        "(if (call $holds (local.get $at) (local.get $end) (i32.const {at}) (i32.const {}))
           (then {deed}))\n",
        word.len()
    )
}

/// A guest that never answers.
pub fn spinning() -> Vec<u8> {
    module(
        r#"(module
            (memory (export "memory") 1)
            (func (export "execute") (param i32 i32) (result i64)
              (loop $spin (br $spin))
              unreachable))"#,
    )
}

/// A guest that traps at once.
pub fn trapping() -> Vec<u8> {
    module(
        r#"(module
            (memory (export "memory") 1)
            (func (export "execute") (param i32 i32) (result i64) unreachable))"#,
    )
}

/// A guest that sets `X-Calls` to how often its instance was called, 1 to 9.
pub fn counting() -> Vec<u8> {
    let output = r#"{"modified":true,"continue":true,"response":{"headers":{"X-Calls":["0"]}}}"#;
    let digit = 1024 + output.find("\"0\"").expect("the digit") + 1;
    module(&format!(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 1024) "{data}")
            (func (export "execute") (param i32 i32) (result i64)
              (i32.store8 (i32.const {digit})
                (i32.add (i32.load8_u (i32.const {digit})) (i32.const 1)))
              (i64.or (i64.shl (i64.const {len}) (i64.const 32)) (i64.const 1024))))"#,
        data = literal(output),
        len = output.len(),
    ))
}

/// A guest that puts `prefix`, `times` times `unit`, and `suffix` together, gives it to `call` (a
/// host function of type `(i32, i32) -> i64`) if there is one and passes then; else it returns it.
pub fn repeating(prefix: &str, unit: &str, times: usize, suffix: &str, call: &str) -> Vec<u8> {
    let (start, pass) = (65536, r#"{"continue":true}"#);
    let length = prefix.len() + times * unit.len() + suffix.len();
    let (import, end) = if call.is_empty() {
        (String::new(), format!("(i64.const {})", (length as u64) << 32 | start))
    } else {
        (
            format!(r#"(import "env" "{call}" (func $call (param i32 i32) (result i64)))"#),
            format!(
                "(drop (call $call (i32.const {start}) (i32.const {length})))
                 (i64.const {})",
                (pass.len() as u64) << 32 | 512
            ),
        )
    };
    module(&format!(
        r#"(module {import}
            (memory (export "memory") {pages})
            (data (i32.const 512) "{pass}")
            (data (i32.const 1024) "{prefix}") (data (i32.const 8192) "{unit}")
            (data (i32.const 16384) "{suffix}")
            (func (export "execute") (param i32 i32) (result i64)
              (local $at i32) (local $left i32)
              (local.set $at (i32.const {start}))
              (local.set $left (i32.const {times}))
              (memory.copy (local.get $at) (i32.const 1024) (i32.const {prefix_len}))
              (local.set $at (i32.add (local.get $at) (i32.const {prefix_len})))
              (block $done (loop $next
                (br_if $done (i32.eqz (local.get $left)))
                (memory.copy (local.get $at) (i32.const 8192) (i32.const {unit_len}))
                (local.set $at (i32.add (local.get $at) (i32.const {unit_len})))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br $next)))
              (memory.copy (local.get $at) (i32.const 16384) (i32.const {suffix_len}))
              {end}))"#,
        pages = 2 + (start as usize + length) / 65536,
        pass = literal(pass),
        prefix = literal(prefix),
        unit = literal(unit),
        suffix = literal(suffix),
        prefix_len = prefix.len(),
        unit_len = unit.len(),
        suffix_len = suffix.len(),
    ))
}
