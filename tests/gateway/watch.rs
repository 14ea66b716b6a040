//! `--watch` where the folder itself never rests.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::support::{Setup, get, wait_until, wasm};

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
