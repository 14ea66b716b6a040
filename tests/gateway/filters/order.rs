//! Which callbacks come, in which order, with which numbers: Envoy's.

use super::script::{lines, scripted, wait_line};
use crate::support::{Client, Gateway, Origin, Setup, wait_until, wasm};

/// A guest that logs each callback with its arguments; `deny` answers requests by itself.
pub fn logging(deny: bool) -> Vec<u8> {
    let names = [
        ("proxy_on_context_create", "i32 i32", "", ""),
        ("proxy_on_vm_start", "i32 i32", "(result i32)", "(i32.const 1)"),
        ("proxy_on_configure", "i32 i32", "(result i32)", "(i32.const 1)"),
        ("proxy_on_request_headers", "i32 i32 i32", "(result i32)", "(i32.const 0)"),
        ("proxy_on_request_body", "i32 i32 i32", "(result i32)", "(i32.const 0)"),
        ("proxy_on_response_headers", "i32 i32 i32", "(result i32)", "(i32.const 0)"),
        ("proxy_on_response_body", "i32 i32 i32", "(result i32)", "(i32.const 0)"),
        ("proxy_on_done", "i32", "(result i32)", "(i32.const 1)"),
        ("proxy_on_log", "i32", "", ""),
        ("proxy_on_delete", "i32", "", ""),
    ];
    let mut functions = String::new();
    for (index, (name, params, result, answer)) in names.into_iter().enumerate() {
        let at = 1024 + index * 64;
        let count = params.split(' ').count();
        let text = format!("{name}{}", " ..".repeat(count));
        let digits: String = (0..count)
            .map(|param| {
                let place = at + name.len() + 1 + param * 3;
                format!("(call $digits (i32.const {place}) (local.get {param}))")
            })
            .collect();
        let answers = match (deny, name) {
            (true, "proxy_on_request_headers") => {
                "(drop (call $local (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 1024)
                   (i32.const 5) (i32.const 0) (i32.const 0) (i32.const -1)))"
            }
            _ => "",
        };
        functions.push_str(&format!(
            r#"(data (i32.const {at}) "{text}")
               (func (export "{name}") (param {params}) {result}
                 {digits}
                 (drop (call $log (i32.const 2) (i32.const {at}) (i32.const {})))
                 {answers} {answer})"#,
            text.len()
        ));
    }
    wasm::module(&format!(
        r#"(module
          (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
          (import "env" "proxy_send_local_response"
            (func $local (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 2)
          (func (export "proxy_abi_version_0_2_1"))
          (func (export "malloc") (param i32) (result i32) (i32.const 65536))
          (func $digits (param $at i32) (param $n i32)
            (i32.store8 (local.get $at)
              (i32.add (i32.const 48) (i32.rem_u (i32.div_u (local.get $n) (i32.const 10))
                (i32.const 10))))
            (i32.store8 offset=1 (local.get $at)
              (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10)))))
          {functions})"#
    ))
}

/// The callbacks that were logged.
fn callbacks(gateway: &Gateway) -> Vec<String> {
    let log = gateway.log();
    let lines = log.lines().filter_map(|line| {
        let line = &line[line.find("proxy_on_")? + "proxy_".len()..];
        Some(line.split(" plugin=").next()?.to_owned())
    });
    lines.collect()
}

#[test]
fn callbacks_come_in_envoys_order() {
    let origin = Origin::ok();
    let gateway =
        Setup::to(&origin).plugin("it", logging(false), "config: ab, vmConfig: c").start();
    let mut client = Client::connect(gateway.addr);
    let request = "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(client.ask(request).text(), "ok");
    assert_eq!(client.get("/").text(), "ok");
    wait_until("the second is over", || callbacks(&gateway).iter().any(|it| it == "on_delete 03"));
    let got = callbacks(&gateway);
    let of = |id: &str| -> Vec<String> {
        let it = |line: &&String| line.split(' ').nth(1) == Some(id);
        got.iter().filter(it).map(|line| line.replace(id, "id")).collect()
    };
    assert_eq!(of("01"), ["on_context_create id 00", "on_vm_start id id", "on_configure id 02"]);
    let first = of("02");
    let count = &first[1]["on_request_headers id ".len()..][..2];
    assert!(count.parse::<u32>().unwrap() >= 7, "{first:?}");
    assert_eq!(
        first,
        [
            "on_context_create id 01".to_owned(),
            format!("on_request_headers id {count} 00"),
            "on_request_body id 05 01".to_owned(),
            first[3].clone(),
            "on_response_body id id 01".to_owned(),
            "on_log id".to_owned(),
            "on_done id".to_owned(),
            "on_delete id".to_owned(),
        ]
    );
    assert!(first[3].starts_with("on_response_headers id ") && first[3].ends_with(" 00"));
    let second = of("03");
    assert!(second[1].ends_with(" 01") && !second[2].contains("request_body"), "{second:?}");
}

#[test]
fn an_answer_of_its_own_is_shown_to_a_filter() {
    let origin = Origin::ok();
    let gateway = Setup::to(&origin).plugin("it", logging(true), "").start();
    assert_eq!(crate::support::get(gateway.addr, "/").status, 403);
    wait_until("it is over", || callbacks(&gateway).iter().any(|it| it == "on_delete 02"));
    let got = callbacks(&gateway);
    let names: Vec<_> = got
        .iter()
        .filter(|it| it.contains(" 02"))
        .map(|it| it.split(' ').next().unwrap())
        .collect();
    // Status, length, type; and the body.
    assert!(got.contains(&"on_response_headers 02 03 00".to_owned()), "{got:?}");
    assert!(got.contains(&"on_response_body 02 05 01".to_owned()), "{got:?}");
    assert_eq!(names[names.len() - 3..], ["on_log", "on_done", "on_delete"]);
}

#[test]
fn who_leaves_ends_the_context_once() {
    let origin = Origin::scripted(|connection, _| {
        while connection.request().is_some() {
            std::thread::sleep(std::time::Duration::from_millis(300));
            connection.answer("late");
        }
    });
    let gateway = Setup::to(&origin).plugin("it", logging(false), "").start();
    for _ in 0..10 {
        let mut client = Client::connect(gateway.addr);
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        origin.wait_requests(1);
        client.reset();
    }
    wait_until("all are over", || {
        callbacks(&gateway).iter().filter(|it| it.starts_with("on_delete ")).count() == 10
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    let got = callbacks(&gateway);
    for what in ["on_context_create", "on_log", "on_done", "on_delete"] {
        for id in 2..12 {
            let line = format!("{what} {id:02}");
            let count = got.iter().filter(|it| it.starts_with(&line)).count();
            assert_eq!(count, 1, "{line}: {got:?}");
        }
    }
}

#[test]
fn a_root_that_is_not_done_ends_when_it_says_so_or_when_its_time_is_over() {
    let origin = Origin::ok();
    let not_done = "on done\nonly 1\nreturn 0";
    let ticking = format!("set_tick_period_milliseconds 20\non tick\ndone\n{not_done}");
    let late = "proxy_done was not called within 2s";
    for (script, why) in [(ticking.as_str(), ""), (not_done, late)] {
        let gateway = scripted(&origin, script).start();
        assert_eq!(crate::support::get(gateway.addr, "/").status, 200);
        assert_eq!(gateway.call("DELETE", "/api/plugins/unload/it", "").status, 200);
        assert_eq!(wait_line(&gateway, "delete 1"), "");
        let all = lines(&gateway, "it");
        let told = all.iter().filter(|line| *line == "done 1" || *line == "delete 1");
        assert_eq!(told.collect::<Vec<_>>(), ["done 1", "delete 1"]);
        assert!(gateway.log().contains(why), "{}", gateway.log());
        assert_eq!(crate::support::get(gateway.addr, "/").status, 200);
    }
}
