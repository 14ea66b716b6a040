//! The house rules, as a test: what a reviewer would otherwise have to say again and again.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and reads files"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest line of a source file, in characters.
const COLUMNS_MAX: usize = 100;
/// Longest source file without its tests, in lines.
const LINES_MAX: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files that git tracks or would track, relative to the root.
fn files() -> Vec<String> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git is installed");
    assert!(output.status.success(), "git ls-files failed: is this a clone?");
    let listing = String::from_utf8(output.stdout).unwrap();
    let files = listing.lines().filter(|file| root().join(file).is_file());
    files.map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_default()
}

/// Rust files of the gateway, its tests and its benches.
fn rust_files() -> Vec<String> {
    let ours = |file: &String| {
        let folders = ["src/", "tests/", "perf/"];
        file.ends_with(".rs") && folders.iter().any(|folder| file.starts_with(folder))
    };
    files().into_iter().filter(ours).collect()
}

fn source_files() -> Vec<String> {
    rust_files().into_iter().filter(|file| file.starts_with("src/")).collect()
}

fn has_extension(file: &str, extension: &str) -> bool {
    Path::new(file).extension().is_some_and(|have| have == extension)
}

/// A source without its `mod tests { … }` at the end.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn is_test_file(file: &str) -> bool {
    let is_named_so = file.ends_with("/tests.rs") || file.ends_with("_tests.rs");
    is_named_so || file.starts_with("tests/") || file.contains("/tests/")
}

/// The lines of a source that are code: without comments and strings' insides being looked at
/// closely, which is enough to find a path that is named.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .map(|(number, line)| (number + 1, line))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn assert_none(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn lines_have_at_most_100_columns() {
    let mut found = Vec::new();
    for file in rust_files() {
        for (number, line) in read(&file).lines().enumerate() {
            if line.chars().count() > COLUMNS_MAX {
                found.push(format!("{file}:{}", number + 1));
            }
        }
    }
    assert_none("longer than 100 columns", &found);
}

#[test]
fn every_file_says_what_it_is_for() {
    let lacks = |file: &String| !read(file).starts_with("//!");
    let found: Vec<String> = rust_files().into_iter().filter(lacks).collect();
    assert_none("no `//!` at the top", &found);
}

#[test]
fn files_are_short() {
    let mut found = Vec::new();
    for file in source_files() {
        let lines = without_tests(&read(&file)).lines().count();
        if !is_test_file(&file) && lines > LINES_MAX {
            found.push(format!("{file}: {lines} lines, limit is {LINES_MAX}"));
        }
    }
    assert_none("too long without their tests", &found);
}

/// The modules of `src/`, in the order in which `src/lib.rs` declares them.
fn rooms() -> Vec<String> {
    let text = read("src/lib.rs");
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

#[test]
fn a_room_knows_only_those_that_stand_before_it() {
    let rooms = rooms();
    assert!(rooms.len() > 10, "src/lib.rs was not understood: {rooms:?}");
    let place = |room: &str| rooms.iter().position(|known| known == room);
    let mut found = Vec::new();
    for file in source_files() {
        let path = file.strip_prefix("src/").unwrap();
        let own = path.split(['/', '.']).next().unwrap();
        // The programs know the library; tests may look where they like.
        let Some(own_place) = place(own).filter(|_| !is_test_file(&file)) else {
            continue;
        };
        for (number, line) in code_lines(without_tests(&read(&file))) {
            for part in line.split("crate::").skip(1) {
                let end = part.find(|c: char| !c.is_alphanumeric() && c != '_');
                let named = &part[..end.unwrap_or(part.len())];
                assert!(!named.is_empty(), "{file}:{number}: name one module in one `use`");
                if place(named).is_some_and(|named| named > own_place) {
                    found.push(format!("{file}:{number}: {own} knows {named}"));
                }
            }
        }
    }
    assert_none("a room knows one that stands after it in src/lib.rs", &found);
}

#[test]
fn only_io_names_the_runtime_of_the_workers() {
    let mut found = Vec::new();
    for file in source_files() {
        let is_helper = file == "src/plugin/testing.rs";
        if file.starts_with("src/io/") || is_helper || is_test_file(&file) {
            continue;
        }
        for (number, line) in code_lines(without_tests(&read(&file))) {
            if line.contains("monoio::") {
                found.push(format!("{file}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none("the runtime is named outside src/io", &found);
}

#[test]
fn only_plugin_names_wasmtime() {
    let mut found = Vec::new();
    for file in source_files() {
        if file.starts_with("src/plugin/") {
            continue;
        }
        for (number, line) in code_lines(&read(&file)) {
            if line.contains("wasmtime::") || line.contains("use wasmtime") {
                found.push(format!("{file}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none("wasmtime is named outside src/plugin", &found);
}

#[test]
fn only_the_control_plane_names_a_second_runtime() {
    let mut found = Vec::new();
    for file in source_files() {
        let may = file.starts_with("src/control/") || file == "src/main.rs";
        for (number, line) in code_lines(&read(&file)) {
            // Its channels need no runtime.
            let line = line.replace("tokio::sync::", "");
            if !may && (line.contains("tokio::") || line.contains("axum::")) {
                found.push(format!("{file}:{number}: {}", line.trim()));
            }
        }
    }
    assert_none("a second runtime reaches into the data plane", &found);
}

#[test]
fn every_module_is_declared() {
    // A file that no `mod` names is not compiled, and nobody notices.
    let mut found = Vec::new();
    for file in rust_files() {
        let path = Path::new(&file);
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let folder = path.parent().unwrap();
        let is_root = ["src/main.rs", "src/lib.rs"].contains(&file.as_str())
            || stem == "main"
            || folder == Path::new("tests")
            || ["perf/time.rs", "perf/count.rs"].contains(&file.as_str())
            || file.starts_with("src/cli/template/");
        if is_root {
            continue;
        }
        if is_room_door(path) {
            let declaration = format!("mod {};", folder.file_name().unwrap().to_str().unwrap());
            if !read("src/lib.rs").contains(&declaration) {
                found.push(file);
            }
            continue;
        }
        // `a/b.rs` is declared by `a.rs`, or by the room that it stands in; files of a crate's root
        // folder by the root.
        let roots = ["main.rs", "lib.rs", "time.rs", "count.rs", "mod.rs"];
        let parents = roots.map(|file| folder.join(file));
        let mut parents = parents.into_iter().chain([folder.with_extension("rs")]);
        let declares = |parent: &PathBuf| {
            let text = read(parent.to_str().unwrap());
            let declaration = format!("mod {stem};");
            text.lines().any(|line| line.trim_end().ends_with(&declaration))
                || text.contains(&format!("{stem}.rs\"]"))
        };
        if !parents.any(|parent| declares(&parent)) {
            found.push(file);
        }
    }
    assert_none("no `mod` declares", &found);
}

/// Whether a file is the first of a room, a folder of `src/`.
fn is_room_door(path: &Path) -> bool {
    path.ends_with("mod.rs") && path.parent().and_then(Path::parent) == Some(Path::new("src"))
}

#[test]
fn only_the_rooms_of_src_have_a_mod_rs() {
    let misplaced =
        |file: &String| file.ends_with("/mod.rs") && !is_room_door(Path::new(file.as_str()));
    let found: Vec<String> = rust_files().into_iter().filter(misplaced).collect();
    assert_none("within a room, `foo.rs` beside `foo/` is the layout", &found);
}

#[test]
fn beside_its_rooms_src_has_few_files() {
    let beside = |file: &String| file.matches('/').count() == 1;
    let found: Vec<String> = source_files().into_iter().filter(beside).collect();
    assert!(found.len() <= 10, "at most 10 files stand beside the folders of src/: {found:?}");
}

#[test]
fn every_document_has_one_title() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| has_extension(file, "md")) {
        let text = read(file);
        let mut titles = 0;
        let mut in_code = false;
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                in_code = !in_code;
            } else if !in_code && line.starts_with("# ") {
                titles += 1;
            }
        }
        if titles != 1 {
            found.push(format!("{file}: {titles} titles"));
        }
    }
    assert_none("a document has exactly one `# ` line", &found);
}

#[test]
fn flamegraphs_are_listed_and_small() {
    let index = read("flamegraphs/README.md");
    let mut found = Vec::new();
    for file in files().iter().filter(|file| has_extension(file, "svg")) {
        let Some(name) = file.strip_prefix("flamegraphs/") else {
            continue;
        };
        if !index.contains(&format!("({name})")) {
            found.push(format!("{file}: not in flamegraphs/README.md"));
        }
        if read(file).len() > 200 * 1024 {
            found.push(format!("{file}: over 200 KiB"));
        }
    }
    assert_none("a flamegraph that nobody finds, or that is too large", &found);
}

#[test]
fn every_config_file_is_mentioned() {
    let files = files();
    let is_text = |file: &&String| {
        ["md", "rs", "toml", "yaml", "yml", "sh"].iter().any(|end| has_extension(file, end))
            || file.ends_with("Makefile")
            || file.ends_with(".ci/run")
            || file.ends_with("Dockerfile")
    };
    let texts: Vec<(&String, String)> =
        files.iter().filter(is_text).map(|file| (file, read(file))).collect();
    let mut found = Vec::new();
    for file in files.iter().filter(|file| file.starts_with("config/")) {
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let is_mentioned = texts.iter().any(|(other, text)| *other != file && text.contains(name));
        if !is_mentioned {
            found.push(file.clone());
        }
    }
    assert_none("nobody mentions", &found);
}

#[test]
fn no_file_names_a_machine_or_a_registry() {
    // Built from pieces, so that this file does not name them either.
    let forbidden = [
        ["/wo", "rk/"].concat(),
        ["/ro", "ot/"].concat(),
        ["/ho", "me/"].concat(),
        ["arti", "factory"].concat(),
        ["index.crates", ".io"].concat(),
        ["registry.", "npmjs.org"].concat(),
        ["resol", "ved\": \"http"].concat(),
    ];
    let mut found = Vec::new();
    for file in files() {
        let text = read(&file);
        for (number, line) in text.lines().enumerate() {
            // The lock file of Cargo names the public registry, as every one does.
            if file.ends_with("Cargo.lock") && line.starts_with("source = ") {
                continue;
            }
            if let Some(word) = forbidden.iter().find(|word| line.contains(word.as_str())) {
                found.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    }
    assert_none("names a place that only one machine has", &found);
}

#[test]
fn comments_leave_nothing_for_later() {
    let words = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["XX", "X:"].concat()];
    let mut found = Vec::new();
    for file in rust_files() {
        for (number, line) in read(&file).lines().enumerate() {
            if words.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{file}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none("work that was put off", &found);
}

#[test]
fn the_tests_of_what_two_parts_do_together_are_there() {
    let tests: String = rust_files().iter().map(|file| read(file)).collect();
    let page = read("ARCHITECTURE.md");
    let section = page.split("\n## ").find(|section| section.starts_with("What two parts do"));
    let rows = section.unwrap_or_default().lines().filter(|line| line.starts_with("| "));
    let names = rows
        .skip(1)
        .filter_map(|row| row.rsplit('|').nth(1))
        .flat_map(|cell| cell.split(',').map(|name| name.trim().trim_matches('`').to_owned()));
    let names: Vec<String> = names.collect();
    assert!(names.len() > 20, "the table of ARCHITECTURE.md is not found: {names:?}");
    let lost = |name: &String| {
        // Of some there is one for each that carries bytes.
        let is_there = |arguments| tests.contains(&format!("fn {name}({arguments})"));
        !is_there("") && !is_there("by: Carrier")
    };
    assert_none("no such test", &names.into_iter().filter(lost).collect::<Vec<_>>());
}

#[test]
fn every_limit_has_a_reason() {
    let is_list = |file: &str| file == "src/limits.rs" || file.starts_with("src/limits/");
    let (lists, others): (Vec<String>, Vec<String>) =
        source_files().into_iter().partition(|file| is_list(file));
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for file in &lists {
        let text = read(file);
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let Some(limit) = line.strip_prefix("pub const ") else {
                continue;
            };
            names.extend(limit.split(':').next().map(str::to_owned));
            if !lines[number.saturating_sub(1)].starts_with("///") {
                found.push(format!("{file}:{}", number + 1));
            }
        }
    }
    assert_none("a bound without its reason", &found);
    let sources: Vec<String> = others.iter().map(|file| read(file)).collect();
    let is_unused = |name: &String| !sources.iter().any(|text| text.contains(name.as_str()));
    let unused: Vec<String> = names.into_iter().filter(is_unused).collect();
    assert_none("a bound that bounds nothing", &unused);
}

#[test]
fn field_names_are_classed_in_one_place() {
    const OF_CONNECTIONS: [&str; 8] = [
        "te",
        "trailer",
        "upgrade",
        "connection",
        "content-length",
        "proxy-connection",
        "transfer-encoding",
        "http2-settings",
    ];
    let mut found = Vec::new();
    for file in source_files() {
        let text = read(&file).to_lowercase();
        let code: String = code_lines(without_tests(&text)).map(|(_, line)| line).collect();
        let names = OF_CONNECTIONS.iter().filter(|name| code.contains(&format!("\"{name}\"")));
        // The static table of HTTP/2's compression is RFC 7541's list.
        let is_place = ["src/http/field_class", "src/http/h2/hpack/statics.rs"]
            .iter()
            .any(|place| file.starts_with(place));
        if names.count() > 1 && !is_test_file(&file) && !is_place {
            found.push(file);
        }
    }
    assert_none("a list of field names beside http/field_class.rs", &found);
}
