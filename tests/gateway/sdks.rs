//! What plugin authors build on, as built modules through a gateway: the samples of the extensions
//! page, a command module as TinyGo makes them, and what each SDK tells and does.

use crate::support::{Client, Gateway, Origin, Setup, TempDir, ask, get};
use std::collections::BTreeSet;

/// A module built by `make plugins`.
fn built(name: &str) -> Vec<u8> {
    let path = format!("{}/plugins/dist/{name}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make plugins`"))
}

/// As auth, so that a module that fails or does not say yes lets nothing pass.
fn guarding(module: &str) -> Gateway {
    Setup::echo()
        .plugin("sample", built(module), "type: auth, body: true, maxMemoryPages: 256")
        .start()
}

#[test]
fn the_samples_of_the_extensions_page_say_yes() {
    for module in ["page-samples/go", "page-samples/rust", "page-samples/assemblyscript"] {
        let gateway = guarding(module);
        let mut client = Client::connect(gateway.addr);
        for body in ["", "caf\u{e9} \"q\" \\", &"x".repeat(200_000)] {
            let length = body.len();
            let request = format!(
                "POST /a?b=c HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            for _ in 0..10 {
                let response = client.ask(&request);
                assert_eq!(response.status, 200, "{module}: {}", response.text());
                assert_eq!(response.json()["body"], body, "{module}");
            }
        }
        assert!(!gateway.log().contains("ERROR"), "{module}: {}", gateway.log());
    }
}

#[test]
fn the_assemblyscript_sample_reads_its_input_and_logs() {
    let gateway = guarding("page-samples/assemblyscript");
    assert_eq!(get(gateway.addr, "/").status, 200);
    gateway.wait_log("the input is an object");
}

#[test]
fn a_command_module_with_malloc_and_execute_runs_as_it_is() {
    let gateway = guarding("canaries/c-command");
    let mut client = Client::connect(gateway.addr);
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200);
    }
    gateway.wait_log("main was here");
    gateway.wait_log("execute was here");
    let starts = gateway.log().matches("main was here").count();
    assert_eq!(starts, 2, "once for each of the instances made before the first request");
}

#[test]
fn compare_and_set_of_every_sdk_is_atomic_over_all_workers() {
    const THREADS: usize = 4;
    const EACH: usize = 50;
    for language in ["go", "assemblyscript", "c"] {
        let module = built(&format!("canaries/cas-{language}"));
        let keys = "type: request, failureMode: closed, maxMemoryPages: 256, timeout: 20s";
        let gateway = Setup::echo().workers(2).plugin("counter", module, keys).start();
        let numbers: BTreeSet<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = Client::connect(gateway.addr);
                        (0..EACH).map(|_| number(&mut client)).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let expected: BTreeSet<usize> = (1..=THREADS * EACH).collect();
        assert_eq!(numbers, expected, "{language}: every number once");
    }
}

/// What a plugin is told of the target of `GET /api/users?limit=10&limit=a%26b`, by JSON pointer.
const TOLD: [(&str, &str, &str); 7] = [
    ("path", "/input/path", r#""/api/users""#),
    ("query", "/input/query", r#"{"limit":["10","a&b"]}"#),
    ("asked", "/input/request/path", r#""/api/users""#),
    ("about", "/input/request/query", r#"{"limit":["10","a&b"]}"#),
    ("method", "/input/request/method", r#""GET""#),
    ("sent", "/input/request/body", "absent"),
    ("phase", "/context/phase", r#""response""#),
];

fn showing() -> String {
    let show = TOLD.map(|(name, pointer, _)| format!("{name}: '{pointer}'"));
    format!("{{phase: response, show: {{{}}}}}", show.join(", "))
}

#[test]
fn both_phases_are_told_the_target_in_one_shape_by_the_gateway_and_by_the_cases_of_a_plugin() {
    let target = "/api/users?limit=10&limit=a%26b";
    let probe = built("canaries/probe");
    let keys = format!("config: {}", showing());
    let gateway = Setup::echo().plugin("probe", &probe, &keys).start();
    let response = get(gateway.addr, target);
    let mut expected = String::new();
    for (name, _, value) in TOLD {
        let name = format!("x-probe-probe-{name}");
        assert_eq!(response.head.get(&name).as_deref(), Some(value), "{name}");
        expected += &format!("{name}: '{value}', ");
    }
    // `odin-cli test` must not be greener than the gateway, nor redder.
    let dir = TempDir::new();
    dir.write("plugin.wasm", &probe);
    dir.write(
        "tests/cases.yaml",
        format!(
            "plugin: ../plugin.wasm\nconfig: {}\ncases: [{{name: told, request: {{url: \
             'http://host{target}'}}, response: {{}}, expect: {{headers: {{{expected}}}}}}}]",
            showing(),
        ),
    );
    let cli = std::process::Command::new(env!("CARGO_BIN_EXE_odin-cli"))
        .args(["test".as_ref(), dir.path().as_os_str()])
        .output()
        .unwrap();
    assert!(cli.status.success(), "{}", String::from_utf8_lossy(&cli.stdout));
}

#[test]
fn every_sdk_tells_path_and_query_of_the_request_in_both_phases() {
    for language in ["rust", "go", "assemblyscript", "c"] {
        let module = built(&format!("canaries/asked-{language}"));
        let keys = "type: middleware, failureMode: closed, maxMemoryPages: 256";
        let gateway = Setup::echo().plugin("asked", module, keys).start();
        let response = get(gateway.addr, "/files/a%20b?x=://h/files/c&limit=1%2B1");
        let asked = "/files/a%20b 1+1";
        assert_eq!(response.json()["headers"]["X-Asked"][0], asked, "{language}");
        assert_eq!(response.head.get("x-asked").as_deref(), Some(asked), "{language}");
    }
}

fn number(client: &mut Client) -> usize {
    let response = client.get("/");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["headers"]["X-Number"][0].as_str().unwrap().parse().unwrap()
}

/// A request whose body comes in these chunks.
fn in_chunks(path: &str, pieces: &[&str]) -> String {
    let pieces: String =
        pieces.iter().map(|piece| format!("{:x}\r\n{piece}\r\n", piece.len())).collect();
    format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n"
    )
}

#[test]
fn bodies_pass_plugins_of_c_and_assemblyscript_in_pieces() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            if !connection.answer(&request.text()) {
                return;
            }
        }
    });
    for language in ["c", "assemblyscript"] {
        let gateway = Setup::to(&origin)
            .plugin(
                "pieces",
                built(&format!("canaries/pieces-{language}")),
                "type: middleware, body: stream, failureMode: closed, maxMemoryPages: 64",
            )
            .start();
        let told = |path: &str, body: &str| {
            let length = body.len();
            let response = ask(
                gateway.addr,
                format!(
                    "POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
                ),
            );
            (response.status, response.text())
        };
        let ok = |text: &str| (200, text.to_owned());
        assert_eq!(told("/", "hello"), ok("hello[5/1][10/1]"), "{language}");
        assert_eq!(told("/pass", "hello"), ok("hello[5/1]"), "{language}");
        assert_eq!(told("/", "drop it"), ok("[0/1]"), "{language}");
        assert_eq!(told("/", "end it"), ok("ended[5/1]"), "{language}");
        assert_eq!(told("/", "answer"), (418, "a pot".to_owned()), "{language}");
        for (path, body) in [("/", "cut"), ("/", "fail"), ("/wrong", "hello")] {
            assert_eq!(told(path, body).0, 503, "{language}: {path} {body}");
        }
        gateway.wait_log("asked to cut");
        gateway.wait_log("asked to fail");
        gateway.wait_log("the path is wrong");
        gateway.wait_log("closed [5/1]");
        // Two exchanges interleaved: each has its own state.
        let mut clients: Vec<Client> = (0..2).map(|_| Client::connect(gateway.addr)).collect();
        let request = in_chunks("/", &["hold", "one", "two"]);
        let (first, rest) = request.split_at(request.find("3\r\none").unwrap());
        for client in &mut clients {
            client.send(first);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        for client in &mut clients {
            client.send(rest);
        }
        for client in &mut clients {
            let text = client.response().text();
            // Into how many pieces it is cut is the network's, but nothing is lost or mixed up.
            assert!(text.starts_with("holdonetwo[10/"), "{language}: {text}");
        }
        // A thousand exchanges take no more memory than one.
        let mut client = Client::connect(gateway.addr);
        for _ in 0..1000 {
            let response = client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
            assert_eq!(response.text(), "x[1/1][6/1]", "{language}");
        }
    }
}
