//! What plugin authors build on, as built modules through a gateway: the samples of the extensions
//! page, a command module as TinyGo makes them, and compare-and-set of each SDK.

use crate::support::{Client, Gateway, Setup, get};
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

fn number(client: &mut Client) -> usize {
    let response = client.get("/");
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["headers"]["X-Number"][0].as_str().unwrap().parse().unwrap()
}
