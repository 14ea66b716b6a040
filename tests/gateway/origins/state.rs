//! What is known of targets outlives reloads.

use super::{served, three};
use crate::support::failing::Mode;
use crate::support::get;

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
