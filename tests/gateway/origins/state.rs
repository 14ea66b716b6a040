//! What is known of targets outlives reloads.

use super::{served, three};
use crate::support::failing::Mode;
use crate::support::{get, wait_until};

#[test]
fn reloads_change_neither_ejections_nor_turns() {
    let (origins, gateway) = three("retry: {}");
    origins[0].becomes(Mode::Status(503));
    assert_eq!(served(&gateway, 30), 30);
    assert_eq!(origins[0].count(), 5);
    for number in 0..6 {
        let text = gateway.config();
        let text = text.replace("retry: {}", &format!("timeout: 1{number}s, retry: {{}}"));
        let text = text.replacen(&format!("timeout: 1{}s, ", (number + 5) % 6), "", 1);
        gateway.rewrite(&text);
        assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        assert_eq!(served(&gateway, 10), 10);
    }
    assert_eq!(origins[0].count(), 5, "it stays ejected");
    let (b, c) = (origins[1].count(), origins[2].count());
    assert!(b.abs_diff(c) <= 2, "turns go on: {b}, {c}");
    assert_eq!(get(gateway.addr, "/").status, 200);
}

#[test]
fn the_next_binary_knows_who_is_drained_and_who_is_ejected() {
    let (origins, mut gateway) =
        three("retry: {}, outlier: {consecutiveErrors: 3, ejection: 5m, ejectedMax: 50%}");
    origins[0].becomes(Mode::Status(503));
    assert_eq!(served(&gateway, 30), 30);
    assert_eq!(origins[0].count(), 3);
    let body = format!("{{\"url\": \"{}\", \"drained\": true}}", origins[1].url());
    assert_eq!(gateway.call("PUT", "/api/targets/drained", &body).status, 200);
    let told = |gateway: &crate::support::Gateway, at: usize| {
        let status = gateway.call("GET", "/api/status", "").json();
        let target = status["targets"][at].clone();
        (target["state"].to_string(), target["reason"].to_string(), target["ejections"].to_string())
    };
    let before = [told(&gateway, 0), told(&gateway, 1), told(&gateway, 2)];
    let first = gateway.pid();
    assert_ne!(gateway.upgrade(), first);
    gateway.wait_ended(first);
    let count = origins[1].count();
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!((origins[0].count(), origins[1].count()), (3, count));
    assert_eq!([told(&gateway, 0), told(&gateway, 1), told(&gateway, 2)], before);
    let body = body.replace("true", "false");
    assert_eq!(gateway.call("PUT", "/api/targets/drained", &body).status, 200);
    wait_until("it is asked again", || {
        assert_eq!(served(&gateway, 2), 2);
        origins[1].count() > count
    });
}
