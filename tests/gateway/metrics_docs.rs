//! docs/metrics.md against a running gateway: every family with its type and its labels.

use std::collections::{BTreeMap, BTreeSet};

use crate::metrics::scrape;
use crate::support::secure::{Issuer, Leaf};
use crate::support::{Client, Origin, Setup, get, wasm};

const DOCUMENTATION: &str = include_str!("../../docs/metrics.md");

/// Type and labels of each family.
type Families = BTreeMap<String, (String, BTreeSet<String>)>;

/// The rows of the tables: `| metric | type | labels | … |`.
fn documented() -> Families {
    let prefixes = ["odin_", "wasm_", "process_"].map(|prefix| format!("| `{prefix}"));
    let is_row = |line: &&str| prefixes.iter().any(|prefix| line.starts_with(prefix));
    let rows = DOCUMENTATION.lines().filter(is_row);
    rows.map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let bare = |text: &str| text.trim_matches('`').to_owned();
        let labels = cells[3].split(',').map(|label| bare(label.trim()));
        let labels = labels.filter(|label| !label.is_empty()).collect();
        (bare(cells[1]), (cells[2].to_owned(), labels))
    })
    .collect()
}

/// What a gateway shows. A series of a histogram or summary belongs to the family before it.
fn shown(metrics: &str) -> Families {
    let mut families = Families::new();
    let mut family = String::new();
    for line in metrics.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            family = name.to_owned();
            families.insert(family.clone(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&family), "{line} stands under {family}");
            let labels = line.split_once('{').map_or("", |(_, rest)| rest);
            let names = labels.split("\",").filter_map(|label| label.split_once("=\""));
            let names = names.map(|(name, _)| name.to_owned()).filter(|name| name != "le");
            families.get_mut(&family).unwrap().1.extend(names);
        }
    }
    families
}

/// Counts by `metric_increment` and `metric_record`.
const COUNTING: &str = r#"(module
    (import "env" "metric_increment" (func $increment (param i32 i32 i64)))
    (import "env" "metric_record" (func $record (param i32 i32 i64)))
    (memory (export "memory") 1)
    (data (i32.const 0) "hits")
    (data (i32.const 50) "wait")
    (data (i32.const 100) "{\22continue\22:true}")
    (func (export "execute") (param i32 i32) (result i64)
      (call $increment (i32.const 0) (i32.const 4) (i64.const 1))
      (call $record (i32.const 50) (i32.const 4) (i64.const 7))
      (i64.or (i64.shl (i64.const 17) (i64.const 32)) (i64.const 100))))"#;

#[test]
fn every_family_is_documented_with_its_type_and_labels_and_the_other_way_round() {
    let origin = Origin::ok();
    let setup = Setup::echo();
    let pair = Issuer::new("metrics").write(&setup.dir, "a", &Leaf::default());
    let secure = format!("{{address: '127.0.0.1:0', tls: {{certificates: [{pair}]}}}}");
    let gateway = setup
        .listen(&format!("['127.0.0.1:0', {secure}]"))
        .service(&format!(
            "name: o, basePath: /o, targets: ['{}'], mirror: {{service: copies}}",
            origin.url()
        ))
        .service("name: shop, basePath: /shop, split: [{service: copies}]")
        .service("name: copies, internal: true, targets: ['builtin:echo']")
        .plugin("p", wasm::module(COUNTING), "type: request")
        .plugin("f", crate::filters::built("filter-rust"), "config: metric")
        .start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    assert_eq!(get(gateway.addr, "/o").status, 200);
    assert_eq!(get(gateway.addr, "/shop").status, 200);
    let mut call = crate::support::http2::get("/");
    call.push(("content-type", "application/grpc"));
    crate::support::http2::Http2::connect(gateway.addr).ask(1, &call);
    crate::support::wait_until("the call and the copy are counted", || {
        let all = scrape(&gateway);
        all.contains("odin_grpc_responses_total{") && all.contains("odin_mirrored_total{")
    });
    let (shown, documented) = (shown(&scrape(&gateway)), documented());
    assert!(shown.len() > 30, "{shown:?}");
    let names = |families: &Families| families.keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(names(&shown), names(&documented));
    for (name, family) in &shown {
        assert_eq!(family, &documented[name], "{name}");
    }
}

#[test]
fn every_field_of_the_status_is_documented() {
    let origin = Origin::ok();
    let gateway = Setup::echo()
        .service(&format!("name: o, basePath: /o, targets: ['{}']", origin.url()))
        .plugin("p", wasm::passing(), "type: request")
        .start();
    let mut client = Client::connect(gateway.addr);
    assert_eq!(client.get("/").status, 200);
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    let status = gateway.call("GET", "/api/status", "").json();
    let (_, section) = DOCUMENTATION.split_once("## /api/status").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let is_told =
        |key: &str| section.contains(&format!("`{key}`")) || section.contains(&format!(".{key}`"));
    let mut missing = Vec::new();
    for (key, value) in status.as_object().unwrap() {
        let is_list = value.is_array() && section.contains(&format!("`{key}[]`"));
        let has_parts = section.contains(&format!("`{key}."));
        if !(is_told(key) || is_list || has_parts) {
            missing.push(key.clone());
        }
        let inner = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        for key in inner.as_object().into_iter().flat_map(serde_json::Map::keys) {
            if !is_told(key) {
                missing.push(key.clone());
            }
        }
    }
    let upstream = status["services"][0]["upstream"].as_object().unwrap();
    missing.extend(upstream.keys().filter(|key| !is_told(key)).cloned());
    let connections = upstream["connections"].as_object().unwrap();
    missing.extend(connections.keys().filter(|key| !is_told(key)).cloned());
    assert_eq!(missing, [""; 0]);
}
