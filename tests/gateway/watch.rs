//! `--watch`: which changes on disk are seen, and which are none.

use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::fs::inotify;
use serde_json::Value;

use crate::support::gateway::BINARY;
use crate::support::{Gateway, Setup, TempDir, get, wait_until, wasm};

fn tagged(tag: &str) -> Vec<u8> {
    wasm::setting_headers(&format!(r#""X-Tag":["{tag}"]"#))
}

#[test]
fn a_folder_in_which_something_is_always_written_does_not_put_off_a_reload_for_ever() {
    let gateway =
        Setup::echo().plugin("tag", tagged("one"), "type: request").argument("--watch").start();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // More often than the quiet that a reload waits for; it ends if the test fails, too.
            for _ in (0..1500).take_while(|_| !is_over.load(Relaxed)) {
                gateway.dir().write("plugins/some.log", "a line\n");
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        gateway.replace_plugin("tag", tagged("two"));
        let mut seen = String::new();
        for _ in 0..1000 {
            seen = get(gateway.addr, "/").json()["headers"]["X-Tag"][0].to_string();
            if seen.contains("two") {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        is_over.store(true, Relaxed);
        assert!(seen.contains("two"), "{seen}");
    });
    wait_until("it is in the log", || gateway.log().contains("(a file changed)"));
}

// --- files that a refused change names ---

/// 1. The configuration names a plugin whose file is not there yet, nor is its folder: refused.
/// 2. The file comes. Nothing else changes.
/// 3. It runs, and what was refused is told no longer.
#[test]
fn a_plugin_whose_file_comes_after_the_configuration_is_taken_when_it_comes() {
    let gateway = Setup::echo()
        .admin("token: t0ken")
        .plugin("tag", tagged("one"), "type: request")
        .argument("--watch")
        .start();
    let tell =
        |path: &str| gateway.call_with("GET", path, "Authorization: Bearer t0ken\r\n", "").text();
    let reloaded = |value: u8| {
        let line = format!("odin_config_last_reload_successful {value}\n");
        tell("/metrics").contains(&line)
    };
    assert!(reloaded(1));
    let config = gateway.config();
    let later = "- {name: late, path: later/late.wasm, type: request}\n    - {name: tag";
    gateway.rewrite(&config.replace("- {name: tag", later));
    gateway.wait_log("(a file changed): refused, nothing has changed: plugin late: ");
    assert!(reloaded(0), "{}", tell("/metrics"));
    let ready: Value = serde_json::from_str(&tell("/readyz")).unwrap();
    assert_eq!(ready["status"], "ready", "what runs serves: {ready}");
    assert_eq!(ready["refused"]["change"], "configuration reloaded (a file changed)", "{ready}");
    assert!(ready["refused"]["reason"].as_str().unwrap().contains("late.wasm"), "{ready}");
    let open = gateway.call("GET", "/readyz", "").json();
    assert_eq!(open, serde_json::json!({ "status": "ready" }));
    // A change of something else mends nothing.
    let body = r#"{"enabled":true}"#;
    let field = "Authorization: Bearer t0ken\r\n";
    assert_eq!(gateway.call_with("PUT", "/api/plugins/tag/enabled", field, body).status, 200);
    assert!(reloaded(0));
    let late = wasm::setting_headers(r#""X-Late":["came"]"#);
    gateway.dir().write("plugins/later/late.wasm", late);
    wait_until("it runs", || {
        get(gateway.addr, "/").json()["headers"]["X-Late"][0] == "came" && reloaded(1)
    });
    let ready: Value = serde_json::from_str(&tell("/readyz")).unwrap();
    assert!(ready["refused"].is_null(), "{ready}");
}

#[test]
fn a_file_that_is_mended_is_taken_when_it_is() {
    let gateway =
        Setup::echo().plugin("tag", tagged("one"), "type: request").argument("--watch").start();
    let good = gateway.config();
    let other = good.replace("path: tag.wasm", "path: other.wasm");
    gateway.dir().write("plugins/other.wasm", "no module");
    gateway.rewrite(&other);
    gateway.wait_log("refused, nothing has changed: plugin tag: ");
    gateway.replace_plugin("other", tagged("two"));
    wait_until("the other module serves", || tag(&gateway) == "two");
}

// --- what leads to a file ---

fn tag(gateway: &Gateway) -> String {
    get(gateway.addr, "/").json()["headers"]["X-Tag"][0].as_str().unwrap_or("none").to_owned()
}

/// A watching gateway whose configuration is `conf/odin.yaml` in its folder, put there by `place`.
fn watching(place: impl Fn(&TempDir, &str)) -> (Gateway, String) {
    let setup = Setup::echo();
    let config = setup.config();
    place(&setup.dir, &config);
    let mut command = Command::new(BINARY);
    command.arg("--watch").stdin(Stdio::null());
    let path = setup.dir.path().join("conf/odin.yaml");
    (Gateway::spawn_with(setup.dir, command, &path), config)
}

/// The configuration with its service somewhere else.
fn moved(config: &str, to: &str) -> String {
    config.replace("basePath: /,", &format!("basePath: {to},"))
}

fn wait_served(gateway: &Gateway, path: &str) {
    wait_until(&format!("{path} is served"), || get(gateway.addr, path).status == 200);
}

/// As Kubernetes mounts a ConfigMap: the file is a link through `..data`, which is turned.
#[test]
fn a_link_on_the_way_to_the_configuration_may_be_turned() {
    let (gateway, config) = watching(|dir, config| {
        dir.write("conf/..1/odin.yaml", config);
        symlink("..1", dir.path().join("conf/..data")).unwrap();
        symlink("..data/odin.yaml", dir.path().join("conf/odin.yaml")).unwrap();
    });
    let root = gateway.dir().path().to_owned();
    for (number, to) in [(2, "/two"), (3, "/three"), (4, "/four")] {
        gateway.dir().write(&format!("conf/..{number}/odin.yaml"), moved(&config, to));
        symlink(format!("..{number}"), root.join("conf/..data_tmp")).unwrap();
        std::fs::rename(root.join("conf/..data_tmp"), root.join("conf/..data")).unwrap();
        std::fs::remove_dir_all(root.join(format!("conf/..{}", number - 1))).unwrap();
        wait_served(&gateway, to);
    }
}

#[test]
fn the_file_that_a_link_leads_to_is_watched_where_it_is() {
    let (gateway, config) = watching(|dir, config| {
        dir.write("elsewhere/real.yaml", config);
        std::fs::create_dir(dir.path().join("conf")).unwrap();
        symlink("../elsewhere/real.yaml", dir.path().join("conf/odin.yaml")).unwrap();
    });
    let root = gateway.dir().path().to_owned();
    // In place, by a new file, and by another link.
    gateway.dir().write("elsewhere/real.yaml", moved(&config, "/two"));
    wait_served(&gateway, "/two");
    gateway.dir().write("elsewhere/new.yaml", moved(&config, "/three"));
    std::fs::rename(root.join("elsewhere/new.yaml"), root.join("elsewhere/real.yaml")).unwrap();
    wait_served(&gateway, "/three");
    gateway.dir().write("third/real.yaml", moved(&config, "/four"));
    symlink("../third/real.yaml", root.join("conf/new")).unwrap();
    std::fs::rename(root.join("conf/new"), root.join("conf/odin.yaml")).unwrap();
    wait_served(&gateway, "/four");
    gateway.dir().write("third/real.yaml", moved(&config, "/five"));
    wait_served(&gateway, "/five");
}

#[test]
fn the_folder_of_the_configuration_may_be_replaced() {
    let (gateway, config) = watching(|dir, config| {
        dir.write("conf/odin.yaml", config);
    });
    let root = gateway.dir().path().to_owned();
    for to in ["/two", "/three"] {
        gateway.dir().write("next/odin.yaml", moved(&config, to));
        std::fs::rename(root.join("conf"), root.join(format!("before{}", to.len()))).unwrap();
        std::fs::rename(root.join("next"), root.join("conf")).unwrap();
        wait_served(&gateway, to);
    }
    std::fs::remove_dir_all(root.join("conf")).unwrap();
    gateway.wait_log("(a file changed): refused, nothing has changed: ");
    gateway.dir().write("conf/odin.yaml", moved(&config, "/four"));
    wait_served(&gateway, "/four");
    gateway.dir().write("conf/odin.yaml", moved(&config, "/five"));
    wait_served(&gateway, "/five");
}

/// As a file that is mounted alone (`docker run -v odin.yaml:/etc/odin/config.yaml`): who writes it
/// goes by another path, so that nothing happens in the folder. A second name of the file is the
/// same to the kernel, and needs no right to mount.
#[test]
fn a_configuration_that_is_written_by_another_path_is_seen() {
    let (gateway, config) = watching(|dir, config| {
        let real = dir.write("host/real.yaml", config);
        std::fs::create_dir(dir.path().join("conf")).unwrap();
        std::fs::hard_link(real, dir.path().join("conf/odin.yaml")).unwrap();
    });
    for to in ["/two", "/three"] {
        gateway.dir().write("host/real.yaml", moved(&config, to));
        wait_served(&gateway, to);
    }
}

#[test]
fn a_gateway_that_watches_does_not_stir_itself() {
    let gateway =
        Setup::echo().plugin("tag", tagged("one"), "type: request").argument("--watch").start();
    // One change, so that it has looked.
    gateway.replace_plugin("tag", tagged("two"));
    wait_until("it has looked", || tag(&gateway) == "two");
    std::thread::sleep(Duration::from_secs(1));
    let ear = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let opened = inotify::WatchFlags::OPEN | inotify::WatchFlags::ACCESS;
    inotify::add_watch(&ear, gateway.dir().path().join("odin.yaml"), opened).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let heard = inotify::Reader::new(&ear, &mut buffer).next().map(|event| event.events());
    assert!(heard.is_err(), "nothing has changed, and the file is read: {heard:?}");
}
