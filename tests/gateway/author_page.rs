//! docs/writing-plugins.md by itself: its sources and commands, copied from the page, in each of
//! the four languages, end where it says.

use std::process::{Command, Output};
use std::time::Instant;

use crate::support::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const PAGE: &str = include_str!("../../docs/writing-plugins.md");

/// A fenced block of the page.
struct Block {
    /// What it is written in.
    language: &'static str,
    /// The file that it is to be put into; empty for commands.
    file: &'static str,
    text: &'static str,
}

/// The blocks of a section.
fn blocks(title: &str) -> Vec<Block> {
    let (_, section) = PAGE.split_once(&format!("\n## {title}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let fenced = section.split("```").skip(1).step_by(2);
    let block = |text: &'static str| {
        let (info, text) = text.split_once('\n').unwrap();
        let (language, file) = info.split_once(' ').unwrap_or((info, ""));
        Block { language, file, text }
    };
    fenced.map(block).collect()
}

/// The commands of a block, without what is said of them.
fn commands(block: &Block) -> Vec<String> {
    let lines = block.text.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.map(|line| line.split("  #").next().unwrap().trim_end().to_owned()).collect()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs these lines as a newcomer's shell would; what is in the background ends with it.
fn shell(dir: &TempDir, lines: &[String]) -> Output {
    let tools = std::path::Path::new(env!("CARGO_BIN_EXE_odin-cli")).parent().unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let script = format!(
        "trap 'for job in $(jobs -p); do kill $job; done' EXIT\nset -e\n{}\n",
        lines.join("\n")
    );
    Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir.path())
        .env("PATH", path)
        // What is compiled for the shipped plugins is not compiled again.
        .env("CARGO_TARGET_DIR", format!("{ROOT}/plugins/target"))
        .env_remove("RUSTFLAGS")
        .env_remove("MAKEFLAGS")
        .output()
        .unwrap()
}

/// The page's plugin with config, secret and cases, under the name `name`.
fn follows_the_page(language: &str, fence: &str, name: &str) {
    let dir = TempDir::new();
    let page = blocks("A plugin with a config, a secret and tests");
    let (listen, origin) = (free_port().to_string(), free_port().to_string());
    let put = |command: String| {
        let command = command.replace("--lang rust", &format!("--lang {language}"));
        let command =
            command.replace("--type auth", &format!("--listen 127.0.0.1:{listen} --type auth"));
        let command = command.replace("guard", name).replace(":8080", &format!(":{listen}"));
        command.replace("9000", &origin)
    };
    let mut consoles = page.iter().filter(|block| block.language == "console").map(commands);
    let first = consoles.next().unwrap().into_iter().map(put).collect::<Vec<_>>();
    said(&shell(&dir, &first));
    let files = page.iter().filter(|block| {
        !block.file.is_empty() && (block.language == fence || block.language == "yaml")
    });
    let files: Vec<_> = files.map(|block| block.file).collect();
    assert_eq!(files.len(), 3, "a source, its cases and a config: {files:?}");
    for block in page.iter().filter(|block| files.contains(&block.file)) {
        let text = block.text.replace("guard.wasm", &format!("{name}.wasm"));
        dir.write(&format!("{name}/{}", block.file), text);
    }
    let mut rest = vec![format!("cd {name}")];
    rest.extend(consoles.next().unwrap().into_iter().map(put));
    for line in &mut rest {
        if line.starts_with("curl") {
            // The newcomer looks twice if it is not there yet.
            line.push_str(" --retry 60 --retry-connrefused --retry-delay 1 --retry-all-errors");
        }
    }
    let started = Instant::now();
    let text = said(&shell(&dir, &rest));
    assert!(text.contains("6 passed, 0 failed"), "{text}");
    for status in ["HTTP/1.1 401 Unauthorized", "HTTP/1.1 200 OK"] {
        assert_eq!(text.matches(status).count(), 1, "{text}");
    }
    assert!(text.contains("show the key") && text.contains("Directory listing"), "{text}");
    eprintln!("{language}, {name}: {:.1?} from make to the answer", started.elapsed());
}

fn said(output: &Output) -> String {
    let streams = [&output.stdout, &output.stderr];
    let text = streams.map(|bytes| String::from_utf8_lossy(bytes)).concat();
    assert_eq!(output.status.code(), Some(0), "{text}");
    text
}

#[test]
fn the_page_alone_leads_to_a_plugin_in_rust() {
    follows_the_page("rust", "rust", "odin-plugin");
}

#[test]
fn the_page_alone_leads_to_a_plugin_in_go() {
    follows_the_page("go", "go", "errors");
}

#[test]
fn the_page_alone_leads_to_a_plugin_in_assemblyscript() {
    follows_the_page("assemblyscript", "ts", "plugin");
}

#[test]
fn the_page_alone_leads_to_a_plugin_in_c() {
    follows_the_page("c", "c", "time");
}

/// What an SDK offers, by the pattern of a line that offers something, without what is its own
/// business; each must stand in the README.
fn is_told_of(sdk: &str, files: &str, pattern: &str, own: &str) {
    let folder = std::path::Path::new(ROOT).join("plugins/sdk").join(sdk);
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    let mut count = 0;
    for file in files.split(' ') {
        let source = std::fs::read_to_string(folder.join(file)).unwrap();
        for found in pattern.captures_iter(&source) {
            let name = &found[1];
            if own.split(' ').any(|one| one == name) {
                continue;
            }
            let word = regex::Regex::new(&format!(r"\b{}\b", regex::escape(name))).unwrap();
            assert!(word.is_match(&readme), "{sdk}/README.md says nothing of {name} ({file})");
            count += 1;
        }
    }
    assert!(count > 30, "the pattern finds what {sdk} has: {count}");
}

#[test]
fn every_function_of_an_sdk_stands_in_its_readme() {
    is_told_of(
        "rust",
        "src/lib.rs src/host.rs src/http.rs src/kv.rs src/input.rs src/outcome.rs src/period.rs \
         src/testing.rs",
        r"(?m)^ *pub (?:const )?(?:fn|struct|trait) (\w+)",
        "",
    );
    is_told_of(
        "go",
        "odin.go host.go http.go input.go result.go config.go host_native.go",
        r"(?m)^(?:func|type) (?:\(\w+ \*?\w+\) )?([A-Z]\w*)",
        "Exchange Level LogLine Tick Message Written",
    );
    is_told_of(
        "assemblyscript",
        "assembly/host.ts assembly/http.ts assembly/input.ts assembly/json.ts assembly/kv.ts \
         assembly/result.ts",
        r"(?m)^(?:export \w+ |  (?:static |get )*)(\w+)(?:\(.*| extends .*| )\{$",
        "constructor read wholeConfig pathOf Message Cursor nameIs nameIsIgnoringCase skipSpace \
         skipString unescape storeUtf8 write",
    );
    is_told_of(
        "c",
        "odin_plugin.h",
        r"(?m)^(?:static inline|ODIN_OPTIONAL) [\w ]+?[ \*](odin_\w+)\(",
        "odin_unpack odin_lower odin_is odin_hex odin_hex4 odin_unicode odin_append \
         odin_dispatch odin_configure odin_keep odin_equal_bytes odin_skip_space \
         odin_skip_string odin_put \
         odin_put_utf8 odin_utf8_size odin_put_string odin_put_base64 odin_put_body \
         odin_put_headers odin_put_status odin_put_message odin_put_result odin_read_call \
         odin_state_of odin_find_body odin_new_body odin_close_body odin_begin_body odin_packed \
         odin_given odin_chunk_given",
    );
}
