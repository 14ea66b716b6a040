//! Plugins that are called by the clock (`tick`, `tickOn`).

use crate::support::{Gateway, Origin, Setup, get, wait_until, wasm};
use std::time::{Duration, Instant};

/// Counts its ticks: `X-Ticks` of requests says them in three digits. `deed` is done at each tick.
fn ticking(deed: &str) -> Vec<u8> {
    let output = r#"{"modified":true,"continue":true,"response":{"headers":{"X-Ticks":["000"]}}}"#;
    let digits = 1024 + output.find("\"000\"").unwrap() + 1;
    let length = output.len();
    let data: String = output.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    wasm::module(&format!(
        r#"(module
          (import "env" "log" (func $log (param i32 i32 i32)))
          (memory (export "memory") 1)
          (data (i32.const 512) "ticked") (data (i32.const 1024) "{data}")
          (global $ticks (mut i32) (i32.const 0))
          (func (export "on_tick")
            (global.set $ticks (i32.add (global.get $ticks) (i32.const 1)))
            (call $log (i32.const 1) (i32.const 512) (i32.const 6))
            {deed})
          (func $digit (param $at i32) (param $unit i32)
            (i32.store8 (local.get $at) (i32.add (i32.const 48)
              (i32.rem_u (i32.div_u (global.get $ticks) (local.get $unit)) (i32.const 10)))))
          (func (export "execute") (param i32 i32) (result i64)
            (call $digit (i32.const {digits}) (i32.const 100))
            (call $digit (i32.add (i32.const {digits}) (i32.const 1)) (i32.const 10))
            (call $digit (i32.add (i32.const {digits}) (i32.const 2)) (i32.const 1))
            (i64.or (i64.shl (i64.const {length}) (i64.const 32)) (i64.const 1024))))"#
    ))
}

fn with(deed: &str, keys: &str) -> (Origin, Gateway) {
    let origin = Origin::ok();
    let setup = Setup::to(&origin).workers(2).plugin("it", ticking(deed), keys);
    let gateway = setup.start();
    (origin, gateway)
}

fn ticks(gateway: &Gateway) -> usize {
    gateway.log().matches(" ticked ").count()
}

#[test]
fn every_instance_ticks_by_itself_and_knows_it_when_it_is_called() {
    let (origin, gateway) = with("", "type: request, tick: 20ms");
    wait_until("all four have ticked", || ticks(&gateway) > 40);
    for _ in 0..20 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    for request in origin.requests() {
        let told: u32 = request.head.all("x-ticks")[0].parse().unwrap();
        assert!(told > 2, "{told}");
    }
}

#[test]
fn one_of_the_process_ticks_where_one_is_to() {
    let started = Instant::now();
    let (_origin, gateway) = with("", "type: request, tick: 100ms, tickOn: one");
    wait_until("it has ticked", || ticks(&gateway) >= 15);
    // The first has no forerunner; timers differ by a tenth at most.
    assert!(started.elapsed() > Duration::from_millis(14 * 90), "{:?}", started.elapsed());
    let (_origin, gateway) = with("", "type: request, tick: 100ms");
    let started = Instant::now();
    wait_until("all have ticked", || ticks(&gateway) >= 60);
    assert!(started.elapsed() < Duration::from_millis(60 * 90), "{:?}", started.elapsed());
}

#[test]
fn a_tick_that_fails_costs_its_instance_and_no_request() {
    for (deed, told) in
        [("unreachable", "on_tick"), ("(loop $spin (br $spin))", "plugin execution timeout")]
    {
        let (_origin, gateway) = with(deed, "type: auth, tick: 50ms, timeout: 300ms");
        gateway.wait_log(told);
        for _ in 0..30 {
            assert_eq!(get(gateway.addr, "/").status, 200, "{deed}");
        }
        wait_until("it ticks on", || ticks(&gateway) > 3);
        let metrics = gateway.call("GET", "/metrics", "").text();
        let counted = metrics.lines().find(|line| line.starts_with("wasm_plugin_errors_total"));
        assert!(!counted.unwrap().ends_with(" 0"), "{counted:?}");
    }
}

#[test]
fn ticks_follow_the_configuration_and_end_with_the_plugin() {
    let (_origin, gateway) = with("", "type: request, tick: 20ms");
    wait_until("it ticks", || ticks(&gateway) > 4);
    gateway.rewrite(&gateway.config().replace("tick: 20ms", "tick: 1h"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    let before = ticks(&gateway);
    std::thread::sleep(Duration::from_millis(200));
    // One may have been under way.
    assert!(ticks(&gateway) <= before + 4, "{} {before}", ticks(&gateway));
    gateway.rewrite(&gateway.config().replace("tick: 1h", "tick: 20ms"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    wait_until("it ticks again", || ticks(&gateway) > before + 8);
}

#[test]
fn who_cannot_tick_is_told_so() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).plugin("it", wasm::passing(), "tick: 1s").start();
    gateway.wait_log("it is to tick, but exports no function on_tick()");
    let filter = super::filters::built("filter-script");
    let gateway = Setup::to(&origin).plugin("it", filter, "tick: 1s").start();
    gateway.wait_log("proxy_set_tick_period_milliseconds");
}

#[test]
fn a_filter_of_envoy_ticks_once_for_all_workers_where_it_is_to() {
    let script = "config: 'on configure;set_tick_period_milliseconds 100'";
    let started = Instant::now();
    let origin = Origin::ok();
    let gateway = Setup::to(&origin)
        .workers(2)
        .plugin("it", super::filters::built("filter-script"), &format!("{script}, tickOn: one"))
        .start();
    wait_until("it has ticked", || gateway.log().matches(" tick 1 ").count() >= 12);
    assert!(started.elapsed() > Duration::from_millis(11 * 90), "{:?}", started.elapsed());
}

#[test]
fn the_instance_that_bodies_pass_ticks_too() {
    // A piece becomes the number of ticks that its instance has had.
    let module = wasm::module(
        r#"(module
          (memory (export "memory") 2)
          (global $ticks (mut i32) (i32.const 0))
          (data (i32.const 16) "{\"modified\":false,\"continue\":true}")
          (func (export "alloc") (param i32) (result i32) (i32.const 1024))
          (func (export "execute") (param i32 i32) (result i64) (i64.const 0x2200000010))
          (func (export "on_tick")
            (global.set $ticks (i32.add (global.get $ticks) (i32.const 1))))
          (func (export "on_request_chunk") (param i32 i32 i32 i32) (result i64)
            (i32.store8 (i32.const 512) (i32.add (i32.const 48) (global.get $ticks)))
            (i64.const 0x1000000100000200)))"#,
    );
    let gateway = Setup::echo()
        .plugin("it", module, "type: request, body: stream, failureMode: closed, tick: 1s")
        .start();
    let told = || crate::support::post(gateway.addr, "/", "body").json()["body"].to_string();
    assert_eq!(told(), "\"0\"");
    crate::support::wait_until("it has ticked", || told() == "\"1\"");
}
