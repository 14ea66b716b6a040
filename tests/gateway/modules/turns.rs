//! What goes on while modules are fetched: answers, names, later orders, the end.

use std::process::{Command, Stdio};

use super::shelf::{Answer, Shelf};
use super::{keys, module, running, setup};
use crate::support::gateway::BINARY;
use crate::support::{Setup, get, wait_until};

#[test]
fn the_admin_api_answers_while_a_module_is_fetched_and_a_later_order_takes_the_place_of_it() {
    let shelf = Shelf::plain();
    let (one, first) = module("one");
    let (two, second) = module("two");
    let (_, third) = module("three");
    shelf.put("/one.wasm", Answer::Whole(one));
    shelf.put("/two.wasm", Answer::Whole(two));
    shelf.put("/slow.wasm", Answer::Drip);
    let (setup, _) = setup(&shelf, "");
    let entry = keys("x", &shelf.url("/one.wasm"), &first);
    let gateway = setup.plugin_entry(&entry).start();
    let config = gateway.config();
    gateway.rewrite(&config.replace(&entry, &keys("x", &shelf.url("/slow.wasm"), &third)));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| gateway.call("POST", "/api/config/reload", ""));
        wait_until("it is being fetched", || shelf.count("/slow.wasm") == 1);
        assert_eq!(gateway.call("GET", "/api/status", "").status, 200);
        assert_eq!(gateway.call("GET", "/metrics", "").status, 200);
        assert_eq!(running(&gateway).as_deref(), Some("one"));
        gateway.rewrite(&config.replace(&entry, &keys("x", &shelf.url("/two.wasm"), &second)));
        assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        let given_up = slow.join().unwrap();
        assert_eq!(given_up.status, 503, "{}", given_up.text());
        assert!(given_up.reason().contains("given up while its modules were being fetched"));
    });
    assert_eq!(running(&gateway).as_deref(), Some("two"));
}

#[test]
fn a_file_that_changes_again_is_seen_while_the_one_before_still_waits_for_a_module() {
    let shelf = Shelf::plain();
    let (one, first) = module("one");
    let (_, second) = module("two");
    shelf.put("/one.wasm", Answer::Whole(one));
    shelf.put("/slow.wasm", Answer::Drip);
    let (setup, _) = setup(&shelf, "");
    let entry = keys("x", &shelf.url("/one.wasm"), &first);
    let gateway = setup.argument("--watch").plugin_entry(&entry).start();
    let config = gateway.config();
    gateway.rewrite(&config.replace(&entry, &keys("x", &shelf.url("/slow.wasm"), &second)));
    wait_until("it is being fetched", || shelf.count("/slow.wasm") == 1);
    gateway.rewrite(&config.replace(&entry, &format!("{entry}, priority: 7")));
    gateway.wait_log("configuration reloaded (a file changed)");
    let plugin = gateway.call("GET", "/api/plugins", "").json()["plugins"][0].clone();
    wait_until("the later one runs", || {
        let plugins = gateway.call("GET", "/api/plugins", "").json();
        plugins["plugins"][0]["priority"] == 7
    });
    assert_eq!(plugin["name"], "x");
    assert_eq!(running(&gateway).as_deref(), Some("one"));
}

#[test]
fn a_signal_ends_a_start_that_fetches() {
    let shelf = Shelf::plain();
    let (_, digest) = module("one");
    shelf.put("/slow.wasm", Answer::Drip);
    let (setup, _) = setup(&shelf, "");
    let setup: Setup = setup.plugin_entry(&keys("x", &shelf.url("/slow.wasm"), &digest));
    let file = setup.dir.write("odin.yaml", setup.config());
    let mut gateway = Command::new(BINARY)
        .arg("--config")
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it is being fetched", || shelf.count("/slow.wasm") == 1);
    let pid = rustix::process::Pid::from_child(&gateway);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut status = None;
    wait_until("it has ended", || {
        status = gateway.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success());
}

#[test]
fn a_name_that_moves_is_followed_while_a_module_is_fetched() {
    let shelf = Shelf::plain();
    let (_, digest) = module("one");
    shelf.put("/slow.wasm", Answer::Drip);
    let port = crate::names::two_places(200);
    let targets = format!("targets: ['http://a.test:{port}']");
    let setup = Setup::new()
        .names(&[("a.test", "127.0.0.1")])
        .service(&format!("name: a, basePath: /, resolve: 1s, {targets}"));
    let kept = setup.dir.path().join("kept");
    let gateway = setup.yaml(&format!("modules: {{cacheDir: {}}}", kept.display())).start();
    let config = gateway.config();
    assert_eq!(get(gateway.addr, "/").text(), "first");
    let entry = keys("x", &shelf.url("/slow.wasm"), &digest);
    gateway.rewrite(&format!("{config}wasm: {{plugins: [{{{entry}}}]}}\n"));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| gateway.call("POST", "/api/config/reload", ""));
        wait_until("it is being fetched", || shelf.count("/slow.wasm") == 1);
        gateway.move_names(&[("a.test", "127.0.0.2")]);
        wait_until("the name is followed", || get(gateway.addr, "/").text() == "second");
        assert!(!slow.is_finished(), "the module is still waited for");
        gateway.rewrite(&config);
        assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        assert_eq!(slow.join().unwrap().status, 503);
    });
    assert_eq!(get(gateway.addr, "/").text(), "second");
}
