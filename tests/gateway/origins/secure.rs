//! Targets of `https://` whose service says how they are called.

use std::path::Path;

use crate::support::{Gateway, Nginx, Setup, TempDir, get, wait_until};
use crate::tls::Authority;

const LOOPBACK: &str = "IP:127.0.0.1";

fn start(nginx: &Nginx, tls: &str) -> Gateway {
    Setup::new()
        .service(&format!(
            "name: a, basePath: /, targets: ['https://{}'], tls: {{{tls}}}",
            nginx.addr
        ))
        .start()
}

fn serving(authority: &Authority, name: &str, more: &str) -> Nginx {
    Nginx::with_tls(&format!("root html; {more}"), |dir| {
        authority.issue(dir, name, 2);
        dir.write("html/a", "served");
        std::fs::copy(authority.ca(), dir.path().join("ca.pem")).unwrap();
    })
}

/// An origin that serves who has a certificate of this authority, and such a one as keys of `tls`.
fn serving_the_known(authority: &Authority) -> (Nginx, TempDir, String) {
    let more = "ssl_client_certificate ca.pem; ssl_verify_client on;";
    let (nginx, own) = (serving(authority, LOOPBACK, more), TempDir::new());
    authority.issue(&own, "DNS:gateway", 2);
    let file = |name: &str| own.path().join(name).display().to_string();
    let keys = format!("cert: {}, key: {}", file("server.pem"), file("server.key"));
    (nginx, own, keys)
}

fn ca(authority: &Authority) -> String {
    format!("ca: {}", authority.ca().display())
}

#[test]
fn a_service_has_an_authority_and_a_name_of_its_own() {
    let (authority, other) = (Authority::new(), Authority::new());
    let nginx = serving(&authority, LOOPBACK, "");
    let gateway = start(&nginx, &ca(&authority));
    assert_eq!(get(gateway.addr, "/a").text(), "served");
    let gateway = start(&nginx, &ca(&other));
    let answer = get(gateway.addr, "/a");
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("signed by nobody"), "{}", answer.text());
    let nginx = serving(&authority, "DNS:app.internal", "");
    assert_eq!(get(start(&nginx, &ca(&authority)).addr, "/a").status, 502);
    let named = format!("{}, serverName: app.internal", ca(&authority));
    assert_eq!(get(start(&nginx, &named).addr, "/a").text(), "served");
}

#[test]
fn any_certificate_will_do_only_where_the_service_says_so_and_the_log_tells() {
    let nginx = serving(&Authority::new(), "DNS:else.where", "");
    let gateway = start(&nginx, "insecure: true");
    assert_eq!(get(gateway.addr, "/a").text(), "served");
    gateway.wait_log("tls.insecure is true: whoever answers is taken for its target");
}

#[test]
fn the_gateway_shows_a_certificate_of_its_own() {
    let authority = Authority::new();
    let (nginx, _own, certificate) = serving_the_known(&authority);
    let keys = format!("{}, {certificate}", ca(&authority));
    assert_eq!(get(start(&nginx, &keys).addr, "/a").text(), "served");
    assert_eq!(get(start(&nginx, &ca(&authority)).addr, "/a").status, 400, "nginx asks for one");
}

#[test]
fn checks_show_the_gateways_certificate_too() {
    let authority = Authority::new();
    let (nginx, _own, certificate) = serving_the_known(&authority);
    let start = |certificate: &str| {
        Setup::new()
            .service(&format!(
                "name: a, basePath: /, targets: ['https://{}'], tls: {{{}{certificate}}}, \
                 healthCheck: {{path: /a, interval: 100ms, unhealthyAfter: 1}}",
                nginx.addr,
                ca(&authority)
            ))
            .start()
    };
    let told =
        |gateway: &Gateway| gateway.call("GET", "/api/status", "").json()["targets"][0].clone();
    // The first check decides alone.
    let without = start("");
    wait_until("it is found sick", || told(&without)["state"] == "unhealthy");
    assert!(told(&without)["check"].as_str().unwrap().contains("400"), "{}", told(&without));
    let with = start(&format!(", {certificate}"));
    drop(without);
    let before = nginx.answered();
    wait_until("it is checked", || nginx.answered() >= before + 3);
    assert_eq!(told(&with)["state"], "healthy", "{}", told(&with));
}

#[test]
fn files_that_do_not_fit_are_told_and_a_reload_with_them_is_refused() {
    let authority = Authority::new();
    let nginx = serving(&authority, LOOPBACK, "");
    let gateway = start(&nginx, &ca(&authority));
    assert_eq!(get(gateway.addr, "/a").status, 200);
    let good = gateway.config();
    let own = TempDir::new();
    own.write("empty", "nothing");
    let path = |name: &str| Path::new(own.path()).join(name).display().to_string();
    for (tls, reason) in [
        (format!("ca: {}", path("gone")), "gone"),
        (format!("ca: {}", path("empty")), "tls.ca has no certificate in PEM"),
        (
            format!("{}, cert: {}, key: {}", ca(&authority), path("empty"), path("empty")),
            "tls.cert has no certificate in PEM",
        ),
    ] {
        gateway.rewrite(&good.replace(&ca(&authority), &tls));
        let answer = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert!(answer.text().contains(reason), "{reason}: {}", answer.text());
        assert_eq!(get(gateway.addr, "/a").status, 200, "what runs goes on");
    }
    // Nothing has changed: neither does the connection.
    gateway.rewrite(&good.replace("basePath: /,", "basePath: /, timeout: 9s,"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(get(gateway.addr, "/a").status, 200);
}
