//! Every cure that a message prints to an author is taken from the message, fed back, and works.

use std::path::Path;
use std::process::Command;

use regex::Regex;

use crate::support::{TempDir, wasm};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What `odin-cli` says and its exit status.
fn odin_cli(dir: &Path, args: &[&str]) -> (String, i32) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_odin-cli"));
    let output = command.current_dir(dir).args(args).output().unwrap();
    let streams = [&output.stdout, &output.stderr];
    let text = streams.map(|bytes| String::from_utf8_lossy(bytes)).concat();
    (text, output.status.code().unwrap())
}

/// What a message advises, by a pattern with one group.
fn cure(message: &str, pattern: &str) -> String {
    let found = Regex::new(pattern).unwrap().captures(message);
    found.unwrap_or_else(|| panic!("no {pattern} in {message}"))[1].to_owned()
}

fn plugin(module: &[u8]) -> TempDir {
    let dir = TempDir::new();
    dir.write("plugin.wasm", module);
    dir.write("input.json", r#"{"input":{"method":"GET","url":"http://a/"}}"#);
    dir
}

#[test]
fn what_a_flag_takes_is_taken() {
    let dir = plugin(&wasm::passing());
    for (flag, wrong, pattern) in [
        ("--timeout", "5", r"write (\d+s) or"),
        ("--timeout", "5", r"or (\d+ms)"),
        ("--config", "[1]", r"an object such as '(\{.*?\})'"),
        ("--body", "yes", r"body is (\w+),"),
    ] {
        let call = ["test-plugin", "plugin.wasm", "input.json", flag];
        let (told, code) = odin_cli(dir.path(), &[&call[..], &[wrong]].concat());
        assert_eq!(code, 64, "{told}");
        let (told, code) = odin_cli(dir.path(), &[&call[..], &[&cure(&told, pattern)]].concat());
        assert_eq!(code, 0, "{told}");
    }
    let call = ["test-plugin", "plugin.wasm", "input.json", "--type"];
    let (told, _) = odin_cli(dir.path(), &[&call[..], &["guard"]].concat());
    let types = cure(&told, r"a type is (.*)").replace(" or ", ", ");
    assert_eq!(types.split(", ").count(), 6, "{types}");
    for kind in types.split(", ") {
        let (told, code) = odin_cli(dir.path(), &[&call[..], &[kind]].concat());
        assert_eq!(code, 0, "{kind}: {told}");
    }
}

#[test]
fn what_a_module_lacks_is_what_it_is_told() {
    // Memory: the number that it is told is enough.
    let dir = plugin(&wasm::module(
        r#"(module (memory (export "memory") 3) (data (i32.const 100) "{\22continue\22:true}")
            (func (export "execute") (param i32 i32) (result i64) (i64.const 73014444132)))"#,
    ));
    let call = ["test-plugin", "plugin.wasm", "input.json", "--max-memory-pages"];
    let (told, code) = odin_cli(dir.path(), &[&call[..], &["2"]].concat());
    assert!(code == 1 && told.contains("(maxMemoryPages)"), "{told}");
    let pages = cure(&told, r"needs (\d+) pages");
    // One more for the input: this module has no allocator.
    let pages = (pages.parse::<u32>().unwrap() + 1).to_string();
    let (told, code) = odin_cli(dir.path(), &[&call[..], &[&pages]].concat());
    assert_eq!(code, 0, "{told}");
    // An export: the one that the message has, with its types.
    let heap = "(drop (memory.grow (i32.sub (memory.size) (i32.const 1))))";
    let with = |more: &str| {
        wasm::module(&format!(
            r#"(module (memory (export "memory") 1) {more}
                (func (export "execute") (param i32 i32) (result i64) {heap} (i64.const 0)))"#
        ))
    };
    let dir = plugin(&with(""));
    let (told, code) = odin_cli(dir.path(), &["inspect", "plugin.wasm"]);
    assert_eq!(code, 1, "{told}");
    let name = cure(&told, r"(\w+)\(size: i32\) -> i32");
    dir.write(
        "plugin.wasm",
        with(&format!(r#"(func (export "{name}") (param i32) (result i32) (i32.const 9))"#)),
    );
    let (told, code) = odin_cli(dir.path(), &["inspect", "plugin.wasm"]);
    assert_eq!(code, 0, "{told}");
}

/// Builds the documentation's sample in Go with its lines changed.
fn go_sample(change: impl FnOnce(String) -> String) -> TempDir {
    let source = format!("{ROOT}/plugins/page-samples/go/main.go");
    let dir = TempDir::new();
    dir.write("main.go", change(std::fs::read_to_string(source).unwrap()));
    dir.write("go.mod", "module sample\n\ngo 1.24\n");
    let environment = format!("{ROOT}/plugins/target/toolchain/go.env");
    let build = format!(
        ". {environment} && GOOS=wasip1 GOARCH=wasm $GO build -buildmode=c-shared -o plugin.wasm ."
    );
    let output = Command::new("sh").args(["-c", &build]).current_dir(dir.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    dir
}

#[test]
fn a_go_module_without_an_allocator_is_told_the_line_that_makes_one() {
    let dir = go_sample(|source| source.replace("//go:wasmexport alloc", "// no"));
    let (told, code) = odin_cli(dir.path(), &["inspect", "plugin.wasm"]);
    assert_eq!(code, 1, "{told}");
    let (line, function) = (cure(&told, "add `(.*?)`"), cure(&told, "above `(.*?)`"));
    let dir = go_sample(|source| {
        assert!(source.contains(&function), "{function}");
        source.replace("//go:wasmexport alloc", &line)
    });
    let (told, code) = odin_cli(dir.path(), &["inspect", "plugin.wasm"]);
    assert_eq!(code, 0, "{told}");
}

#[test]
fn an_assemblyscript_module_without_an_allocator_is_told_the_option_that_exports_one() {
    let sample = format!("{ROOT}/plugins/page-samples/assemblyscript/assembly/index.ts");
    let dir = TempDir::new();
    let module = dir.path().join("plugin.wasm");
    let compile = |options: &[&str]| {
        let compiled = Command::new(format!("{ROOT}/plugins/node_modules/.bin/asc"))
            .args([&*sample, "--path", "node_modules", "--outFile", module.to_str().unwrap()])
            .args(options)
            .current_dir(format!("{ROOT}/plugins"))
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        odin_cli(dir.path(), &["inspect", "plugin.wasm"])
    };
    let (told, code) = compile(&[]);
    assert_eq!(code, 1, "{told}");
    let (told, code) = compile(&[&cure(&told, "AssemblyScript by `(.*?)`")]);
    assert_eq!(code, 0, "{told}");
}

#[test]
fn what_a_case_lacks_is_what_it_is_told() {
    let dir = plugin(&wasm::passing());
    let (told, code) = odin_cli(dir.path(), &["test", "."]);
    assert_eq!(code, 64, "{told}");
    let file = cure(&told, r"write (\S+\.yaml)");
    let (form, maker) = (cure(&told, r"the (\S+\.md)"), cure(&told, "`odin-cli (.*?)` makes"));
    dir.write(&file, "plugin: ../plugin.wasm\ncases: [{name: a}]\n");
    let (told, code) = odin_cli(dir.path(), &["test", "."]);
    assert_eq!(code, 0, "{told}");
    let (told, code) = odin_cli(dir.path(), &[&maker, "project", "--lang", "c"]);
    assert!(code == 0 && dir.path().join("project").join(form).is_file(), "{told}");
    // A host that a case may call.
    dir.write(
        "plugin.wasm",
        wasm::module(
            r#"(module (import "env" "http_call" (func $call (param i32 i32) (result i64)))
                (memory (export "memory") 1)
                (data (i32.const 16) "{\22url\22:\22http://users/\22}")
                (data (i32.const 100) "{\22continue\22:true}")
                (func (export "execute") (param i32 i32) (result i64)
                    (drop (call $call (i32.const 16) (i32.const 23)))
                    (i64.const 73014444132)))"#,
        ),
    );
    let expected = "expect: {calls: ['http://users/']}";
    let cases = |host: &str| {
        let text = format!(
            "plugin: ../plugin.wasm\ncases:\n  - name: a\n    host: {host}\n    {expected}\n"
        );
        dir.write(&file, text);
        odin_cli(dir.path(), &["test", "."])
    };
    let (told, code) = cases("{}");
    assert_eq!(code, 1, "{told}");
    let (told, code) = cases(&cure(&told, r"host: (\{services: \[.*?\]\})"));
    assert_eq!(code, 0, "{told}");
}

#[test]
fn what_an_output_lacks_is_what_it_is_told() {
    let answer = |output: &str| {
        let dir = plugin(&wasm::answering(output));
        odin_cli(dir.path(), &["test-plugin", "plugin.wasm", "input.json", "--type", "auth"])
    };
    let stop = |rest: &str| format!(r#"{{"modified":true,"continue":false,"response":{rest}}}"#);
    let (told, code) = answer("{}");
    assert_eq!(code, 1, "{told}");
    let (told, code) = answer(&format!("{{\"continue\":{}}}", cure(&told, r"must say (\w+) or")));
    assert_eq!(code, 0, "{told}");
    let (told, code) = answer(&stop(r#"{"statusCode":"418"}"#));
    assert_eq!(code, 1, "{told}");
    for bound in [r"number from (\d+) to", r"from \d+ to (\d+)"] {
        let status = cure(&told, bound);
        let (told, code) = answer(&stop(&format!(r#"{{"statusCode":{status}}}"#)));
        assert_eq!(code, 0, "{told}");
    }
    let (told, code) = answer(&stop(r#"{"statusCode":200,"bodyEncoding":"gzip","body":"eA=="}"#));
    assert_eq!(code, 1, "{told}");
    let encoding = cure(&told, r#"must be ("\w+") or"#);
    let answered = format!(r#"{{"statusCode":200,"bodyEncoding":{encoding},"body":"eA=="}}"#);
    let (told, code) = answer(&stop(&answered));
    assert_eq!(code, 0, "{told}");
}

#[test]
fn the_other_way_to_name_a_url_or_an_address_works() {
    let dir = plugin(&wasm::passing());
    dir.write("odin.yaml", "services: [{name: a, basePath: /, targets: ['builtin:echo']}]");
    let explain = ["explain", "--config", "odin.yaml", "--url"];
    let (told, code) = odin_cli(dir.path(), &[&explain[..], &["path"]].concat());
    assert_eq!(code, 64, "{told}");
    for form in [r"takes (http://\S+)", r"http://\S+ or (/\w+)"] {
        let (told, code) = odin_cli(dir.path(), &[&explain[..], &[&cure(&told, form)]].concat());
        assert_eq!(code, 0, "{told}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = ["run", "plugin.wasm", "--listen", &address];
    let (told, code) = odin_cli(dir.path(), &run);
    assert!(code == 64 && told.contains("--listen 127.0.0.1:PORT"), "{told}");
}
