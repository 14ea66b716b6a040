//! One table describes the host functions: the linker, the pages, the SDKs of four languages and
//! the fuzz target say the same.

use std::collections::BTreeSet;
use std::path::Path;

use regex::Regex;
use wasmtime::{Engine, Linker};

use super::super::described::{Caller, FUNCTIONS};
use super::super::{Served, env};

#[expect(clippy::disallowed_methods, reason = "a test reads files of the repository")]
fn file(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn captures<'t>(text: &'t str, pattern: &str) -> Vec<[&'t str; 3]> {
    let found = Regex::new(pattern).unwrap();
    found.captures_iter(text).map(|found| found.extract::<3>().1).collect()
}

/// The functions with their types that a language's SDK declares.
fn declared(found: Vec<[&str; 3]>, types: impl Fn(&str) -> Vec<String>) -> BTreeSet<String> {
    let one = |[name, parameters, result]: [&str; 3]| {
        let types = [types(parameters).join(" "), types(result).join(" ")].join(" -> ");
        format!("{name}: {}", types.trim())
    };
    found.into_iter().map(one).collect()
}

/// The wasm type of a type of the language.
fn wasm_type(text: &str) -> String {
    let words = ["i64", "u64", "int64", "uint64", "int64_t", "uint64_t"];
    let last = text.split(|end: char| !(end.is_alphanumeric() || end == '_'));
    let is_wide = !text.contains('*') && { last }.any(|word| words.contains(&word));
    if is_wide { "i64" } else { "i32" }.to_owned()
}

fn parameters(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty() && !["void", "()"].contains(part))
}

fn each(text: &str) -> Vec<String> {
    parameters(text).map(wasm_type).collect()
}

/// Go gives a type once to several names in front of it.
fn each_of_go(text: &str) -> Vec<String> {
    let mut types = Vec::new();
    let mut behind = String::new();
    for parameter in parameters(text).collect::<Vec<_>>().into_iter().rev() {
        if let Some((_, own)) = parameter.split_once(' ') {
            behind = wasm_type(own);
        } else if text.trim() == parameter {
            // A result has a type alone.
            behind = wasm_type(parameter);
        }
        types.insert(0, behind.clone());
    }
    types
}

fn assembly_script() -> String {
    ["host", "http", "kv"]
        .map(|name| file(&format!("{SDK}/assemblyscript/assembly/{name}.ts")))
        .concat()
}

const SDK: &str = "plugins/sdk";

#[test]
fn the_linker_has_each_form_that_is_described_and_no_other() {
    let engine = Engine::default();
    let types: BTreeSet<&str> = FUNCTIONS.iter().map(|function| function.types).collect();
    for name in FUNCTIONS.iter().map(|function| function.name).collect::<BTreeSet<_>>() {
        for types in types.iter().copied().chain(["i32 -> i64", "i64 ->", "->"]) {
            let is_described =
                FUNCTIONS.iter().any(|function| (function.name, function.types) == (name, types));
            let served = env::serve(&mut Linker::new(&engine), name, types).unwrap();
            assert_eq!(matches!(served, Served::Yes), is_described, "{name}: {types}");
        }
    }
}

#[test]
fn the_pages_have_each_function_as_it_is_described_and_no_other() {
    let (page, abi) = (file("docs/host-functions.md"), file("docs/plugin-abi.md"));
    let is_float = |types: &str| types == "-> f64";
    for function in FUNCTIONS.iter().filter(|function| !is_float(function.types)) {
        let (page, name) = match function.caller {
            Caller::Runtime => (&abi, "docs/plugin-abi.md"),
            Caller::Sdk | Caller::ByHand => (&page, "docs/host-functions.md"),
        };
        assert!(page.contains(&format!("`{}`", function.shown)), "{name}: {}", function.shown);
    }
    let shown: BTreeSet<&str> = FUNCTIONS.iter().map(|function| function.shown).collect();
    let (_, table) = page.split_once("| function | result |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let cells = rows.flat_map(|row| row.split('`').skip(1).step_by(2).take(2));
    let functions: Vec<&str> = cells.filter(|cell| cell.contains('(')).collect();
    assert!(functions.len() > 10, "{functions:?}");
    for function in functions {
        assert!(shown.contains(function), "docs/host-functions.md: {function} is not described");
    }
}

#[test]
fn each_sdk_declares_the_functions_of_its_authors_with_their_types_and_no_other() {
    let want: BTreeSet<String> = FUNCTIONS
        .iter()
        .filter(|function| function.caller == Caller::Sdk)
        .map(|function| format!("{}: {}", function.name, function.types))
        .collect();
    let (rust, go) =
        (file(&format!("{SDK}/rust/src/sys.rs")), file(&format!("{SDK}/go/host_wasm.go")));
    let (c, script) = (file(&format!("{SDK}/c/odin_plugin.h")), assembly_script());
    let rust = rust.split("\n}\n").next().unwrap_or_default();
    let of_rust = captures(rust, r"fn (\w+)\(([^)]*)\)(?: -> )?(\w*);");
    let of_go = captures(&go, r"//go:wasmimport env (\w+)\nfunc \w+\(([^)]*)\) *(\w*)");
    let of_c = captures(&c, r#"ODIN_IMPORT\("(\w+)"\)\s+(\w+ )odin_\w+\(([^)]*)\);"#);
    let of_c = of_c.into_iter().map(|[name, result, parameters]| [name, parameters, result]);
    let of_script = captures(
        &script,
        r#"@external\("env", "(\w+)"\)\s+declare function \w+\(([^)]*)\): (\w+);"#,
    );
    assert_eq!(declared(of_rust, each), want, "Rust");
    assert_eq!(declared(of_go, each_of_go), want, "Go");
    assert_eq!(declared(of_c.collect(), each), want, "C");
    assert_eq!(declared(of_script, each), want, "AssemblyScript");
}

#[test]
fn the_fuzz_target_calls_each_function_in_each_form() {
    let fuzz = file("fuzz/src/host_functions.rs");
    let called: BTreeSet<String> = captures(&fuzz, r#"\("env", "(\w+)", "([^"]*)", "([^"]*)"\)"#)
        .into_iter()
        .map(|[name, parameters, result]| {
            format!("{name}: {}", format!("{parameters} -> {result}").trim())
        })
        .collect();
    let want: BTreeSet<String> =
        FUNCTIONS.iter().map(|one| format!("{}: {}", one.name, one.types)).collect();
    assert_eq!(called, want);
}
