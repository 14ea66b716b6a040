//! The table of plugin types, and what a chain makes of what plugins answer.

use std::time::Duration;

use super::super::testing::{
    Bench, Exchange, answer, answers, executes, logs_input, on_both_drivers, while_running,
};
use super::super::{Isolation, PluginSpec, PluginType};
use super::*;

const TYPES: [(PluginType, Phase); 5] = [
    (PluginType::Auth, Phase::Request),
    (PluginType::RateLimit, Phase::Request),
    (PluginType::Request, Phase::Request),
    (PluginType::Response, Phase::Response),
    (PluginType::Middleware, Phase::Request),
];

const LOOP: &str = "(loop $l (br $l))";
const GROW: &str = "(loop $l (drop (memory.grow (i32.const 16))) (br $l))";
const RECURSE: &str = r#"(module (memory (export "memory") 1)
    (func $f (export "execute") (param i32 i32) (result i64)
      (i64.add (i64.const 1) (call $f (local.get 0) (local.get 1)))))"#;

fn returns(packed: u64) -> String {
    format!(
        r#"(module (memory (export "memory") 1)
             (func (export "execute") (param i32 i32) (result i64) (i64.const {packed})))"#
    )
}

#[test]
fn a_refusal_without_a_status_has_that_of_the_plugins_type() {
    on_both_drivers(|| async {
        for (kind, phase) in TYPES {
            let bench = Bench::new();
            let plugin = bench.plugin(kind, &answers(r#"{"continue":false,"error":"no \"x\""}"#));
            let expected = match kind {
                PluginType::Auth => 401,
                PluginType::RateLimit => 429,
                _ => 403,
            };
            let verdict = Exchange::new(&[&plugin]).run(&bench, phase).await;
            let body = r#"{"error":"no \"x\""}"#.to_owned();
            assert_eq!(answer(verdict), Some((expected, body)), "{kind}");
        }
    });
}

#[test]
fn every_failure_is_decided_by_the_failure_mode_and_counted_by_its_kind() {
    let cases = [
        ("trap", executes("(unreachable)"), ErrorKind::Trap),
        ("recursion", RECURSE.to_owned(), ErrorKind::Trap),
        ("bad log pointer", executes("(call $log (i32.const -8) (i32.const 9))"), ErrorKind::Trap),
        ("endless loop", executes(LOOP), ErrorKind::Timeout),
        ("endless memory", executes(GROW), ErrorKind::Memory),
        ("output out of bounds", returns((4 << 32) | 0xffff_fffe), ErrorKind::BadOutput),
        ("output of 4 GiB", returns(u64::MAX), ErrorKind::BadOutput),
        ("no output", returns(0), ErrorKind::BadOutput),
        ("not JSON", answers("{continue}"), ErrorKind::BadOutput),
        ("not an object", answers("[true,true]"), ErrorKind::BadOutput),
        ("its own error", answers(r#"{"continue":true,"error":"db"}"#), ErrorKind::Refused),
    ];
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (name, guest, kind) in &cases {
            for (ty, phase) in TYPES {
                let mut spec = PluginSpec::new("p", ty);
                spec.timeout = Duration::from_millis(40);
                let plugin = bench.plugin_of(spec, guest);
                let mut exchange = Exchange::new(&[&plugin]);
                let got = answer(exchange.run(&bench, phase).await);
                let closed = matches!(ty, PluginType::Auth | PluginType::RateLimit);
                assert_eq!(got.as_ref().map(|got| got.0), closed.then_some(503), "{name} {ty}");
                if let Some((_, body)) = got {
                    assert!(body.starts_with(r#"{"error":"plugin \"p\" failed: "#), "{body}");
                }
                let mut counted = None;
                bench.pools.stats(|seen, stats| {
                    if Arc::ptr_eq(seen, &plugin) {
                        counted = Some((stats.executions, stats.errors_of(*kind)));
                    }
                });
                assert_eq!(counted, Some((1, 1)), "{name} {ty}");
            }
        }
    });
}

#[test]
fn a_plugin_that_could_not_be_loaded_is_decided_by_its_failure_mode() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let missing =
            |kind| Arc::new(Plugin::failed(PluginSpec::new("p", kind), "no such file: p.wasm"));
        let auth = missing(PluginType::Auth);
        let got = answer(Exchange::new(&[&auth]).request(&bench).await);
        let body = r#"{"error":"plugin \"p\" failed: it could not be loaded"}"#.to_owned();
        assert_eq!(got, Some((503, body)));
        let request = missing(PluginType::Request);
        let mut exchange = Exchange::new(&[&request]);
        assert!(!exchange.selected.needs_request_body());
        assert_eq!(answer(exchange.request(&bench).await), None);
    });
}

#[test]
fn the_failure_mode_of_a_plugin_overrides_that_of_its_type() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (kind, mode) in
            [(PluginType::Auth, FailureMode::Open), (PluginType::Request, FailureMode::Closed)]
        {
            let mut spec = PluginSpec::new("p", kind);
            spec.failure_mode = mode;
            let plugin = bench.plugin_of(spec, &executes("(unreachable)"));
            let got = answer(Exchange::new(&[&plugin]).request(&bench).await);
            assert_eq!(got.is_some(), mode == FailureMode::Closed);
        }
    });
}

#[test]
fn a_missing_continue_lets_pass_except_where_the_plugin_guards() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        for (kind, phase) in TYPES {
            for (output, guards_fail) in [
                (r#"{"modified":false}"#, true),
                (r#"{"continue_":true}"#, false),
                (r#"{"continue":true,"continue_":false}"#, false),
            ] {
                let plugin = bench.plugin(kind, &answers(output));
                let got = answer(Exchange::new(&[&plugin]).run(&bench, phase).await);
                let guards = matches!(kind, PluginType::Auth | PluginType::RateLimit);
                let expected = (guards && guards_fail).then_some(503);
                assert_eq!(got.map(|got| got.0), expected, "{kind} {output}");
            }
        }
    });
}

#[test]
fn plugins_run_by_priority_and_equal_ones_in_the_order_of_the_file() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let named = |name: &str, priority| {
            let mut spec = PluginSpec::new(name, PluginType::Middleware);
            spec.priority = priority;
            bench.plugin_of(spec, &logs_input())
        };
        let (c, a, b, d) = (named("c", 100), named("a", -1), named("b", 5), named("d", 100));
        let mut exchange = Exchange::new(&[&c, &a, &b, &d]);
        for phase in [Phase::Request, Phase::Response] {
            assert_eq!(answer(exchange.run(&bench, phase).await), None);
            let order: Vec<_> = bench.lines().iter().map(|line| line[..1].to_owned()).collect();
            assert_eq!(order, ["a", "b", "c", "d"]);
        }
    });
}

#[test]
fn allowed_urls_choose_by_unanchored_patterns_over_the_path() {
    let bench = Bench::new();
    let mut spec = PluginSpec::new("p", PluginType::Auth);
    spec.allowed_urls = Some(regex::RegexSet::new(["/api/.*", "^/exact$"]).unwrap());
    let auth = bench.plugin_of(spec, &logs_input());
    let chain = Chain::new(vec![auth]);
    let mut selected = Selected::new();
    for (path, applies) in [
        ("/api/users", true),
        ("/v1/api/users", true),
        ("/api", false),
        ("/exact", true),
        ("/exact/not", false),
    ] {
        chain.select(path, &mut selected);
        assert_eq!(selected.has_request_phase(), applies, "{path}");
        assert!(!selected.has_response_phase() && !selected.needs_request_body());
    }
}

#[test]
fn metadata_reaches_every_later_plugin_of_both_phases() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let first = bench.plugin(
            PluginType::Auth,
            &answers(r#"{"continue":true,"metadata":{"user":"ann","tier":{"n":[1]}}}"#),
        );
        let second = bench.plugin(
            PluginType::Request,
            &answers(r#"{"continue":true,"metadata":{"user":"bob"}}"#),
        );
        let third = bench.plugin(PluginType::Response, &logs_input());
        let mut exchange = Exchange::new(&[&first, &second, &third]);
        assert_eq!(answer(exchange.request(&bench).await), None);
        assert_eq!(answer(exchange.response(&bench).await), None);
        let line = bench.lines().pop().unwrap();
        assert!(line.contains(r#""metadata":{"user":"bob","tier":{"n":[1]}}"#), "{line}");
        exchange.carried.clear();
        assert_eq!(exchange.carried.metadata_json(), "{}");
    });
}

#[test]
fn metadata_that_grows_too_large_is_refused_and_changes_nothing() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let large = "x".repeat(limits::PLUGIN_METADATA_BYTES_MAX);
        let output = format!(
            r#"{{"continue":true,"modified":true,"metadata":{{"k":"{large}"}},
                 "response":{{"headers":{{"X-A":["1"]}}}}}}"#
        );
        let plugin = bench.plugin(PluginType::Request, &answers(&output));
        let mut exchange = Exchange::new(&[&plugin]);
        assert_eq!(answer(exchange.request(&bench).await), None);
        assert_eq!(exchange.carried.metadata_json(), "{}");
        assert!(!exchange.request.fields.contains("x-a"));
        assert!(bench.lines()[0].contains("metadata of this exchange would be"));
    });
}

#[test]
fn the_chain_ends_with_the_plugin_that_answers() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let first = bench.plugin(
            PluginType::Request,
            &answers(
                r#"{"continue":false,"response":{"statusCode":302,
                    "headers":{"Location":["/login"],"X-One":"1"}}}"#,
            ),
        );
        let second = bench.plugin(PluginType::Request, &logs_input());
        let verdict = Exchange::new(&[&first, &second]).request(&bench).await;
        let Verdict::Respond(response) = verdict else {
            panic!("the first plugin answers");
        };
        assert_eq!((response.status, response.body.len()), (302, 0));
        assert_eq!(response.fields.get("location"), Some(&b"/login"[..]));
        assert_eq!(response.fields.get("x-one"), Some(&b"1"[..]));
        assert!(bench.lines().is_empty());
    });
}

#[test]
fn a_response_plugin_with_on_request_answers_before_the_upstream_is_asked() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let hit = r#"{"continue":false,"response":{"statusCode":200,"body":"cached"}}"#;
        let packed = (hit.len() as u64) << 32 | 4096;
        let guest = answers(r#"{"continue":true}"#).replacen(
            "(module",
            &format!(
                r#"(module (data (i32.const 4096) "{}")
                   (func (export "on_request") (param i32 i32) (result i64) (i64.const {packed}))"#,
                super::super::testing::wat_string(hit)
            ),
            1,
        );
        let cache = bench.plugin(PluginType::Response, &guest);
        let mut exchange = Exchange::new(&[&cache]);
        assert!(exchange.selected.has_request_phase());
        assert!(!exchange.selected.needs_request_body());
        let got = answer(exchange.request(&bench).await);
        assert_eq!(got, Some((200, "cached".to_owned())));
        assert_eq!(answer(exchange.response(&bench).await), None);
    });
}

#[test]
fn an_endless_loop_leaves_the_worker_to_the_others() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut spec = PluginSpec::new("p", PluginType::Auth);
        spec.timeout = Duration::from_millis(200);
        let spin = bench.plugin_of(spec, &executes(LOOP));
        let other = bench.plugin(PluginType::Request, &answers(r#"{"continue":true}"#));
        let mut spinning = Exchange::new(&[&spin]);
        let rounds = std::cell::Cell::new(0_u32);
        let others = async {
            loop {
                assert_eq!(answer(Exchange::new(&[&other]).request(&bench).await), None);
                rounds.set(rounds.get() + 1);
                crate::io::sleep(Duration::from_millis(1)).await;
            }
        };
        let got = while_running(spinning.request(&bench), others).await;
        let body = r#"{"error":"plugin \"p\" failed: plugin execution timeout"}"#.to_owned();
        assert_eq!(answer(got), Some((503, body)));
        // 200 ms of a loop that kept the worker would leave one or two rounds.
        assert!(rounds.get() >= 5, "{} rounds", rounds.get());
        assert!(bench.lines()[0].contains("plugin execution timeout"));
    });
}

#[test]
fn isolation_by_request_gives_every_call_a_fresh_instance() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        // Traps in the second call of one instance.
        let guest = executes(
            "(if (i32.load (i32.const 0)) (then (unreachable)))
             (i32.store (i32.const 0) (i32.const 1))",
        );
        for (isolation, second_fails) in [(Isolation::Request, false), (Isolation::Shared, true)] {
            let mut spec = PluginSpec::new("p", PluginType::Auth);
            spec.isolation = isolation;
            let plugin = bench.plugin_of(spec, &guest);
            assert_eq!(answer(Exchange::new(&[&plugin]).request(&bench).await), None);
            let second = answer(Exchange::new(&[&plugin]).request(&bench).await);
            assert_eq!(second.is_some(), second_fails);
        }
    });
}
