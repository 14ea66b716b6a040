//! The cases of `tests/proxy-wasm`, which any host can be held against: a script, requests, and
//! what is answered and logged then.

use super::built;
use super::script::lines;
use crate::support::{Client, Gateway, Origin, Setup, wait_until};
use std::fmt::Write as _;
use std::path::Path;

struct Case {
    name: String,
    keys: String,
    script: Vec<String>,
    vm_script: Vec<String>,
    /// Requests, and what is expected behind each.
    steps: Vec<(String, Vec<String>)>,
}

fn read(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if let Some(head) = line.strip_prefix("=== ") {
            let (name, keys) = head.split_once(' ').unwrap_or((head, ""));
            cases.push(Case {
                name: name.to_owned(),
                keys: keys.to_owned(),
                script: Vec::new(),
                vm_script: Vec::new(),
                steps: Vec::new(),
            });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(request) = line.strip_prefix("> ") {
            case.steps.push((request.to_owned(), Vec::new()));
        } else if let Some(expected) = line.strip_prefix("< ") {
            case.steps.last_mut().expect("a request").1.push(expected.to_owned());
        } else if let Some(line) = line.strip_prefix("vm ") {
            case.vm_script.push(line.trim().to_owned());
        } else if !line.is_empty() && !line.starts_with('#') {
            case.script.push(line.trim().to_owned());
        }
    }
    cases
}

/// `GET /path | Name: value | body=text`, sent under the case's own path.
fn ask(gateway: &Gateway, case: &str, request: &str) -> u16 {
    let mut parts = request.split(" | ");
    let (method, path) = parts.next().unwrap().split_once(' ').unwrap();
    let (mut fields, mut body) = (String::new(), "");
    for part in parts {
        match part.strip_prefix("body=") {
            Some(text) => body = text,
            None => write!(fields, "{part}\r\n").unwrap(),
        }
    }
    if !body.is_empty() {
        write!(fields, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    let head = format!("{method} /{case}{path} HTTP/1.1\r\nHost: kit.test\r\n{fields}\r\n{body}");
    Client::connect(gateway.addr).ask(head.as_bytes()).status
}

/// Contexts by their order, `c1` and so on; counts of headers and sizes of configurations as N.
/// Callbacks for bodies are left out: into how many pieces a body is cut is a host's own.
fn normal(lines: &[String]) -> Vec<String> {
    let mut contexts: Vec<String> = Vec::new();
    let mut out = Vec::new();
    for line in lines {
        if line.starts_with("request_body ") || line.starts_with("response_body ") {
            continue;
        }
        let mut words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let is_callback = !line.starts_with("  ") && words.len() > 1;
        if is_callback && words[1] != "1" {
            let at = contexts.iter().position(|id| *id == words[1]).unwrap_or_else(|| {
                contexts.push(words[1].clone());
                contexts.len() - 1
            });
            words[1] = format!("c{}", at + 1);
        } else if is_callback {
            "root".clone_into(&mut words[1]);
        }
        if ["request_headers", "response_headers", "vm_start", "configure"]
            .contains(&words[0].as_str())
        {
            "N".clone_into(&mut words[2]);
        }
        if words[0] == "context_create" {
            words.truncate(2);
        }
        out.push(words.join(" "));
    }
    out
}

fn origin() -> Origin {
    Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let body = request.text();
            let body = if body.is_empty() { "hello".to_owned() } else { body };
            if !connection.answer(&body) {
                return;
            }
        }
    })
}

fn run(file: &Path) {
    let text = std::fs::read_to_string(file).unwrap();
    let cases = read(&text);
    let origin = origin();
    let mut setup = Setup::new()
        .service(&format!("name: other, basePath: /other, targets: ['{}']", origin.url()))
        .service("name: down, basePath: /down, targets: ['http://127.0.0.1:1']");
    for case in &cases {
        let name = &case.name;
        let quoted = |lines: &[String]| lines.join(";").replace('\'', "''");
        setup = setup
            .service(&format!("name: {name}, basePath: /{name}, targets: ['{}']", origin.url()))
            .plugin(
                name,
                built("filter-script"),
                &format!(
                    "services: [{name}], timeout: 2s, rootId: r-{name}, vmId: {name}, {} \
                     config: '{}', vmConfig: '{}'",
                    case.keys,
                    quoted(&case.script),
                    quoted(&case.vm_script)
                ),
            );
    }
    let gateway = setup.start();
    let mut written = String::new();
    let is_written = std::env::var_os("ODIN_WRITE_CASES").is_some();
    for case in &cases {
        let mut seen = 0;
        for (request, expected) in &case.steps {
            let status = ask(&gateway, &case.name, request);
            if is_written {
                std::thread::sleep(std::time::Duration::from_millis(700));
                let all = normal(&lines(&gateway, &case.name));
                write!(written, "{}\n{request}\n{status}\n{}\n", case.name, all[seen..].join("\n"))
                    .unwrap();
                seen = all.len();
                continue;
            }
            assert_eq!(Some(&status.to_string()), expected.first(), "{}: {request}", case.name);
            let until = seen + expected.len() - 1;
            wait_until(&format!("{}: {request} is logged", case.name), || {
                normal(&lines(&gateway, &case.name)).len() >= until
            });
            let all = normal(&lines(&gateway, &case.name));
            assert_eq!(all[seen..until], expected[1..], "{}: {request}", case.name);
            seen = until;
        }
    }
    if is_written {
        std::fs::write(file.with_extension("written"), written).unwrap();
    }
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proxy-wasm");
            run(&dir.join(concat!(stringify!($name), ".cases")));
        })*
    };
}

files! { properties lists answers calls shared }
