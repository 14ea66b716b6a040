//! Plugin modules of other machines: fetched by HTTPS, held against their digest, kept, and run
//! from there when nobody answers any more.

mod registries;
mod registry;
pub mod shelf;
mod signed;
mod turns;

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use shelf::{Answer, Shelf};

use crate::support::wasm::setting_headers;
use crate::support::{Gate, Gateway, Setup, get, wait_until};

/// A module that tells which one it is, and its digest.
fn module(which: &str) -> (Vec<u8>, String) {
    let wasm = setting_headers(&format!("\"X-Module\":[\"{which}\"]"));
    let digest = hex(&wasm);
    (wasm, digest)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    Sha256::digest(bytes).iter().for_each(|byte| write!(text, "{byte:02x}").unwrap());
    text
}

/// A gateway in the making, to the echo, with this inside of `modules`; they are kept in `kept`.
fn setup(shelf: &Shelf, keys: &str) -> (Setup, PathBuf) {
    let setup = Setup::echo();
    let kept = setup.dir.path().join("kept");
    let ca = shelf.ca.as_ref().map_or_else(String::new, |pem| {
        format!("ca: {}, ", setup.dir.write("ca.pem", pem).display())
    });
    let keys = format!("modules: {{cacheDir: {}, {ca}{keys}}}", kept.display());
    (setup.yaml(&keys), kept)
}

/// The keys of a response plugin.
fn keys(name: &str, path: &str, digest: &str) -> String {
    format!("name: {name}, type: response, path: '{path}', sha256: '{digest}'")
}

/// Which module answers.
fn running(gateway: &Gateway) -> Option<String> {
    let response = get(gateway.addr, "/");
    assert_eq!(response.status, 200);
    response.head.get("x-module")
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_module_is_fetched_once_and_runs_without_its_server_from_then_on() {
    let shelf = Shelf::secure();
    let (wasm, digest) = module("one");
    shelf.put("/x.wasm", Answer::Whole(wasm));
    let (setup, kept) = setup(&shelf, "");
    let path = shelf.url("/x.wasm");
    let gateway = setup.plugin_entry(&keys("x", &path, &digest)).start();
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    assert_eq!(files(&kept), [format!("{digest}.wasm")]);
    assert!(gateway.metric("odin_module_fetches_total") == 1.0);
    let status = gateway.call("GET", "/api/status", "").json();
    assert_eq!(status["modules"]["fetched"], 1);
    let plugin = gateway.call("GET", "/api/plugins", "").json()["plugins"][0].clone();
    assert_eq!((&plugin["path"], &plugin["digest"]), (&path.into(), &digest.clone().into()));

    // Its server answers nothing of use any more; neither does the folder, for what is loaded.
    shelf.put("/x.wasm", Answer::Status(500, "gone"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    std::fs::remove_dir_all(&kept).unwrap();
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    assert_eq!(shelf.count("/x.wasm"), 1);
}

#[test]
fn a_start_needs_no_network_for_what_was_fetched_before() {
    let shelf = Shelf::secure();
    let (wasm, digest) = module("one");
    shelf.put("/x.wasm", Answer::Whole(wasm));
    let (setup, kept) = setup(&shelf, "");
    let entry = keys("x", &shelf.url("/x.wasm"), &digest);
    let first = setup.plugin_entry(&entry).start();
    let config = first.config();
    // Another one, beside it, with the same folder: its server is no more.
    let dir = crate::support::TempDir::new();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = config.replace(&shelf.host(), &format!("localhost:{}", gone.port()));
    let second = Gateway::start(dir, &config, &[]);
    assert_eq!(running(&second).as_deref(), Some("one"));
    assert_eq!((shelf.count("/x.wasm"), files(&kept).len()), (1, 1));
}

#[test]
fn whatever_a_server_says_instead_of_a_module_is_refused_and_what_runs_goes_on() {
    let shelf = Shelf::secure();
    let (wasm, digest) = module("one");
    let (other, wanted) = module("two");
    shelf.put("/one.wasm", Answer::Whole(wasm.clone()));
    let (setup, kept) = setup(&shelf, "timeout: 3s");
    let gateway = setup.plugin_entry(&keys("x", &shelf.url("/one.wasm"), &digest)).start();
    let good = gateway.config();
    let cut = |length: usize| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        Answer::Raw([head.as_bytes(), &other[..other.len() / 2]].concat())
    };
    let lies: Vec<(&str, Answer, &str, &str)> = vec![
        ("cut", cut(other.len()), "broke off", "unreachable"),
        ("short", cut(other.len() / 2), "is not the one in the configuration", "digest"),
        ("huge", cut(65 * 1024 * 1024), "larger than 67108864 bytes", "size"),
        ("other", Answer::Whole(wasm), "is not the one in the configuration", "digest"),
        ("page", Answer::Status(200, "<!DOCTYPE html>"), "no WebAssembly module", "digest"),
        ("empty", Answer::Whole(Vec::new()), "(0 bytes)", "digest"),
        ("absent", Answer::Status(404, "no"), "404 Not Found for /absent", "answer"),
        ("denied", Answer::Status(401, "no"), "in modules.auth", "answer"),
        ("broken", Answer::Status(500, "no"), "500 Internal Server Error", "answer"),
        ("partial", Answer::Status(206, "no"), "206 Partial Content", "answer"),
        ("round", Answer::Redirect("/round".into()), "redirects more than 5 times", "answer"),
        ("down", Answer::Redirect("http://localhost/".into()), "only https is followed", "answer"),
        ("file", Answer::Redirect("file:///etc/passwd".into()), "only https", "answer"),
        ("noise", Answer::Raw(b"\x15\x03\x01 what?\r\n\r\n".to_vec()), "broke off", "unreachable"),
        ("closed", Answer::Raw(Vec::new()), "broke off", "unreachable"),
        ("silent", Answer::Silent, "did not come within 3s", "timeout"),
        ("drip", Answer::Drip, "did not come within 3s", "timeout"),
        ("endless", Answer::Endless, "larger than 67108864 bytes", "size"),
    ];
    for (name, lie, words, cause) in lies {
        shelf.put(&format!("/{name}"), lie);
        let series = format!("odin_module_fetch_failures_total{{cause=\"{cause}\"}}");
        let before = gateway.metric(&series);
        let path = shelf.url(&format!("/{name}"));
        gateway.rewrite(
            &good.replace(&keys("x", &shelf.url("/one.wasm"), &digest), &keys("x", &path, &wanted)),
        );
        let answer = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(answer.status, 422, "{name}: {}", answer.text());
        let reason = answer.reason();
        assert!(reason.contains(words), "{name}: {reason}");
        assert!(reason.contains(&format!("plugin x: {path}: ")), "{name}: {reason}");
        assert_eq!(gateway.metric(&series), before + 1.0, "{name}");
        assert_eq!(running(&gateway).as_deref(), Some("one"), "{name}");
    }
    wait_until("nothing is left of what was not kept", || files(&kept).len() == 1);
    // What is true is taken all the same, after all that; by a redirect as well.
    shelf.put("/two.wasm", Answer::Whole(other));
    shelf.put("/moved", Answer::Redirect("/two.wasm".into()));
    let entry = keys("x", &shelf.url("/one.wasm"), &digest);
    gateway.rewrite(&good.replace(&entry, &keys("x", &shelf.url("/moved"), &wanted)));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("two"));
}

#[test]
fn a_start_without_a_module_serves_the_rest_and_has_it_when_its_server_is_back() {
    let away = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (wasm, digest) = module("one");
    let shelf_url = format!("http://{away}/x.wasm");
    let setup = Setup::echo()
        .service("name: open, basePath: /open, targets: ['builtin:echo']")
        .plugin_entry(&format!(
            "name: guard, type: auth, services: [all], path: '{shelf_url}', sha256: '{digest}'"
        ));
    let kept = setup.dir.path().join("kept");
    let gateway = setup.yaml(&format!("modules: {{cacheDir: {}}}", kept.display())).start();
    gateway.wait_log("no connection to");
    assert_eq!(get(gateway.addr, "/").status, 503, "what it guards stays shut");
    assert_eq!(get(gateway.addr, "/open").status, 200);
    assert_eq!(gateway.call("GET", "/readyz", "").status, 503);
    let shelf = Shelf::plain_at(away);
    shelf.put("/x.wasm", Answer::Whole(wasm));
    wait_until("the module has come by itself", || get(gateway.addr, "/").status == 200);
    gateway.wait_log("module of plugin guard fetched (it had been lacking)");
    assert_eq!(gateway.call("GET", "/readyz", "").status, 200);
    assert_eq!(files(&kept).len(), 1);
}

#[test]
fn a_process_that_is_killed_while_it_fetches_leaves_nothing_that_runs() {
    let shelf = Shelf::plain();
    let (wasm, digest) = module("one");
    let gate = Gate::default();
    shelf.put("/x.wasm", Answer::Held(gate.clone(), wasm.clone()));
    let (setup, kept) = setup(&shelf, "");
    let spare = crate::support::wasm::passing();
    let gateway = setup.plugin("spare", spare, "type: response").start();
    let added = format!("plugins:\n    - {{{}}}\n", keys("x", &shelf.url("/x.wasm"), &digest));
    let config = gateway.config().replace("plugins:\n", &added);
    assert!(config.contains(&digest));
    gateway.rewrite(&config);
    gateway.signal(rustix::process::Signal::HUP);
    wait_until("half of it has come", || {
        let halves = files(&kept);
        halves.iter().any(|name| {
            let bytes = kept.join(name).metadata().map_or(0, |data| data.len());
            name.contains(".part-") && bytes > 0
        })
    });
    gateway.signal(rustix::process::Signal::KILL);
    gate.open();
    // What stands in its place half-written is no module either, whoever put it there.
    std::fs::write(kept.join(format!("{digest}.wasm")), &wasm[..wasm.len() / 2]).unwrap();
    shelf.put("/x.wasm", Answer::Whole(wasm));
    let again = Gateway::start(crate::support::TempDir::new(), &config, &[]);
    assert_eq!(running(&again).as_deref(), Some("one"));
    again.wait_log("is damaged; it is fetched again");
}

#[test]
fn plugins_of_one_digest_have_it_fetched_once() {
    let shelf = Shelf::plain();
    let (wasm, digest) = module("one");
    shelf.put("/a.wasm", Answer::Whole(wasm.clone()));
    shelf.put("/b.wasm", Answer::Whole(wasm));
    let (setup, _) = setup(&shelf, "");
    let gateway = setup
        .plugin_entry(&keys("a", &shelf.url("/a.wasm"), &digest))
        .plugin_entry(&keys("b", &shelf.url("/b.wasm"), &digest))
        .plugin_entry(&keys("c", &shelf.url("/a.wasm"), &digest))
        .start();
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    assert_eq!(shelf.asked().len(), 1);
    // Where one place has it no more, another one does.
    let (other, wanted) = module("two");
    shelf.put("/b.wasm", Answer::Whole(other));
    shelf.put("/a.wasm", Answer::Status(410, "gone"));
    gateway.rewrite(&gateway.config().replace(&digest, &wanted));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("two"));
}

#[test]
fn who_the_gateway_is_is_shown_to_its_host_alone_and_to_nobody_who_asks_the_gateway() {
    let (shelf, stranger) = (Shelf::secure(), Shelf::plain());
    let (wasm, digest) = module("one");
    shelf.put("/x.wasm", Answer::Only("Basic b2RpbjpzM2NyZXQtdw==".into(), wasm.clone()));
    let (setup, _) = setup(
        &shelf,
        &format!(
            "auth: [{{host: '{}', username: odin, password: '${{PASSWORD}}'}}, \
         {{host: '{}', token: t0ken-s3cret}}]",
            shelf.host(),
            stranger.host()
        ),
    );
    let signed = format!("{}?signature=s3cret-q", stranger.url("/y.wasm"));
    let (other, wanted) = module("two");
    stranger.put("/y.wasm?signature=s3cret-q", Answer::Only("Bearer t0ken-s3cret".into(), other));
    let gateway = setup
        .env("PASSWORD", "s3cret-w")
        .plugin_entry(&keys("x", &shelf.url("/x.wasm"), &digest))
        .plugin_entry(&keys("y", &signed, &wanted))
        .start();
    assert_eq!(running(&gateway).as_deref(), Some("two"));
    // By a redirect nothing is shown.
    let second = Shelf::secure();
    shelf.put("/z.wasm", Answer::Redirect(second.url("/z.wasm")));
    let (_, third) = module("three");
    let entry = keys("x", &shelf.url("/x.wasm"), &digest);
    gateway.rewrite(&gateway.config().replace(&entry, &keys("x", &shelf.url("/z.wasm"), &third)));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(refused.status, 422, "{}", refused.text());
    // (Its certificate is nobody's that is trusted: not even that far.)
    assert!(refused.reason().contains("no connection to"), "{}", refused.reason());
    assert_eq!(shelf.asked().last().unwrap().path, "/z.wasm");
    for shown in ["/api/config", "/api/plugins", "/api/status", "/api/reloads", "/metrics"] {
        let text = gateway.call("GET", shown, "").text();
        assert!(!text.contains("s3cret"), "{shown}: {text}");
    }
    assert!(!gateway.log().contains("s3cret"), "{}", gateway.log());
}

#[test]
fn plain_http_is_spoken_to_loopback_and_to_whom_the_configuration_lists() {
    let (_, digest) = module("one");
    let refused = |path: &str, keys_of_modules: &str| {
        let dir = crate::support::TempDir::new();
        let kept = dir.path().join("kept");
        let config = format!(
            "services: []\nmodules: {{cacheDir: {}, timeout: 1s, {keys_of_modules}}}\n\
             wasm: {{cacheEnabled: false, plugins: [{{{}}}]}}\n",
            kept.display(),
            keys("x", path, &digest)
        );
        let file = dir.write("odin.yaml", config);
        let told = std::process::Command::new(crate::support::gateway::BINARY)
            .args(["check", "--deep"])
            .arg(file)
            .output()
            .unwrap();
        assert!(!kept.exists(), "who checks leaves nothing behind");
        String::from_utf8(told.stderr).unwrap()
    };
    // (An address for documentation, which nobody has.)
    let told = refused("http://192.0.2.1/x.wasm", "");
    assert!(
        told.contains("plain HTTP to 192.0.2.1") && told.contains("modules.plainHttp"),
        "{told}"
    );
    let told = refused("http://192.0.2.1/x.wasm", "plainHttp: ['192.0.2.1']");
    assert!(!told.contains("plain HTTP"), "{told}");
    let told = refused("http://127.0.0.1:1/x.wasm", "");
    assert!(told.contains("no connection to 127.0.0.1:1"), "{told}");
}

#[test]
fn a_check_reads_the_path_and_a_deep_one_fetches_and_leaves_nothing_behind() {
    let shelf = Shelf::plain();
    let (wasm, digest) = module("one");
    shelf.put("/x.wasm", Answer::Whole(wasm));
    let dir = crate::support::TempDir::new();
    let kept = dir.path().join("kept");
    let check = |arguments: &[&str], entry: &str| {
        let config = format!(
            "services: []\nmodules: {{cacheDir: {}}}\nwasm: {{plugins: [{{{entry}}}]}}\n",
            kept.display()
        );
        let file = dir.write("odin.yaml", config);
        let mut command = std::process::Command::new(crate::support::gateway::BINARY);
        let told = command.arg("check").args(arguments).arg(file).output().unwrap();
        (told.status.success(), String::from_utf8(told.stderr).unwrap())
    };
    let (url, good) = (shelf.url("/x.wasm"), keys("x", &shelf.url("/x.wasm"), &digest));
    assert_eq!(check(&[], &good), (true, String::new()));
    assert_eq!(shelf.asked().len(), 0, "that asks nobody");
    assert_eq!(check(&["--deep"], &good), (true, String::new()));
    assert_eq!(shelf.asked().len(), 1);
    let (_, wrong) = module("two");
    let (is_good, told) = check(&["--deep"], &keys("x", &url, &wrong));
    assert!(!is_good && told.contains("is not the one in the configuration"), "{told}");
    assert!(!kept.exists());
    let (is_good, told) = check(&[], &format!("name: x, path: '{url}'"));
    assert!(!is_good && told.contains("its sha256 is missing"), "{told}");
    let (is_good, told) = check(&[], &keys("x", "oci://registry.example/Team/x:1", &digest));
    assert!(!is_good && told.contains("expected oci://registry/repository:tag"), "{told}");
    let (is_good, told) = check(&[], &keys("x", "ftp://h/x.wasm", &digest));
    assert!(!is_good && told.contains("no other scheme"), "{told}");
}

#[test]
fn the_admin_api_loads_a_module_of_another_machine_and_keeps_its_digest() {
    let shelf = Shelf::plain();
    let (wasm, digest) = module("one");
    shelf.put("/x.wasm", Answer::Whole(wasm));
    let setup = Setup::echo();
    let kept = setup.dir.path().join("kept");
    let gateway = setup.yaml(&format!("modules: {{cacheDir: {}}}", kept.display())).start();
    let load = |more: &str| {
        gateway.call("POST", "/api/plugins/load", &format!("{{\"name\": \"x\"{more}}}"))
    };
    let path = format!(", \"type\": \"response\", \"path\": \"{}\"", shelf.url("/x.wasm"));
    let refused = load(&path);
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.reason().contains("its sha256 is missing"), "{}", refused.reason());
    assert_eq!(load(&format!("{path}, \"sha256\": \"{digest}\"")).status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    // Other keys of it change, and where it is stays.
    let changed = load(", \"priority\": 7");
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    assert_eq!(shelf.asked().len(), 1);
    let wrong = load(&format!("{path}, \"sha256\": \"{}\"", "0".repeat(64)));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    assert_eq!(running(&gateway).as_deref(), Some("one"));
}

#[test]
fn the_next_process_of_an_upgrade_needs_no_network() {
    let shelf = Shelf::plain();
    let (wasm, digest) = module("one");
    shelf.put("/x.wasm", Answer::Whole(wasm));
    let (setup, _) = setup(&shelf, "");
    let entry = keys("x", &shelf.url("/x.wasm"), &digest);
    let mut gateway = setup.plugin_entry(&entry).start();
    shelf.put("/x.wasm", Answer::Silent);
    gateway.upgrade();
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    assert_eq!(shelf.asked().len(), 1);
}

#[test]
fn modules_that_nothing_names_are_removed_beyond_the_bound() {
    let shelf = Shelf::plain();
    let (wasm, digest) = module("one");
    shelf.put("/x.wasm", Answer::Whole(wasm));
    let (setup, kept) = setup(&shelf, "cacheBytesMax: 64MiB");
    std::fs::create_dir(&kept).unwrap();
    for number in 1..=3 {
        let name = kept.join(format!("{}.wasm", number.to_string().repeat(64)));
        // Mostly holes.
        let file = std::fs::File::create(&name).unwrap();
        file.set_len(30 << 20).unwrap();
        let ago = std::time::Duration::from_secs(100 - 10 * number);
        file.set_modified(std::time::SystemTime::now() - ago).unwrap();
    }
    std::fs::write(kept.join("notes.txt"), "not ours").unwrap();
    let entry = keys("x", &shelf.url("/x.wasm"), &digest);
    let gateway = setup.plugin_entry(&entry).start();
    wait_until("the one that is the longest unused is gone", || files(&kept).len() == 4);
    let left = files(&kept);
    assert!(!left.contains(&format!("{}.wasm", "1".repeat(64))), "{left:?}");
    assert!(left.contains(&format!("{digest}.wasm")), "{left:?}");
    let in_bounds = (f64::from(60 << 20), f64::from(64 << 20));
    wait_until("what is left is counted", || {
        let bytes = gateway.metric("odin_module_cache_bytes");
        bytes > in_bounds.0 && bytes < in_bounds.1
    });
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(files(&kept).len(), 4);
}
