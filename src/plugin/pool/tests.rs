//! The life of instances: made before the first request, replaced after a failure, waited for,
//! retired.

use std::time::Duration;

use super::super::testing::{
    Bench, Exchange, answer, answers, answers_and, eventually, executes, on_both_drivers,
    while_running,
};
use super::super::{BodyMode, PluginSpec, PluginType};
use super::*;

const GOES_ON: &str = r#"{"continue":true}"#;

fn stats_of(bench: &Bench, plugin: &Arc<Plugin>) -> PluginStats {
    let mut found = PluginStats::default();
    bench.pools.stats(|seen, stats| {
        if Arc::ptr_eq(seen, plugin) {
            found = stats;
        }
    });
    found
}

/// A guest that sleeps so many milliseconds in every call.
fn sleeps(millis: u64) -> String {
    let nanos = millis * 1_000_000;
    let code = format!(
        "(i64.store (i32.const 224) (i64.const {nanos}))
         (drop (call $poll (i32.const 200) (i32.const 300) (i32.const 1) (i32.const 400)))"
    );
    executes(&code).replacen(
        "(module",
        r#"(module (import "wasi_snapshot_preview1" "poll_oneoff"
             (func $poll (param i32 i32 i32 i32) (result i32)))"#,
        1,
    )
}

fn guard(instances_max: u32, timeout_ms: u64) -> PluginSpec {
    let mut spec = PluginSpec::new("p", PluginType::Auth);
    spec.instances_max = instances_max;
    spec.timeout = Duration::from_millis(timeout_ms);
    spec
}

#[test]
fn instances_are_made_before_the_first_request_and_reused() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin(PluginType::Auth, &answers(GOES_ON));
        assert!(bench.pools.prepare(&[Arc::clone(&plugin)]).await.is_empty());
        assert_eq!(stats_of(&bench, &plugin).instances, 2);
        for _ in 0..100 {
            assert_eq!(answer(Exchange::new(&[&plugin]).request(&bench).await), None);
        }
        let stats = stats_of(&bench, &plugin);
        assert_eq!((stats.instances_made, stats.executions), (2, 100));
        assert_eq!((stats.instances_active, stats.memory_bytes), (0, (2 + 3) * 64 * 1024));
    });
}

#[test]
fn a_trap_costs_one_request_a_thousand_times() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        // Fails every second call of an instance.
        let plugin = bench.plugin(
            PluginType::Auth,
            &executes(
                "(if (i32.load (i32.const 0)) (then (unreachable)))
                 (i32.store (i32.const 0) (i32.const 1))",
            ),
        );
        bench.pools.prepare(&[Arc::clone(&plugin)]).await;
        for _ in 0..1000 {
            assert_eq!(answer(Exchange::new(&[&plugin]).request(&bench).await), None);
            let failed = answer(Exchange::new(&[&plugin]).request(&bench).await);
            assert_eq!(failed.map(|got| got.0), Some(503));
        }
        eventually("the last replacement", || stats_of(&bench, &plugin).instances_made == 1002)
            .await;
        let stats = stats_of(&bench, &plugin);
        assert_eq!((stats.instances_discarded, stats.instances_made), (1000, 1002));
        assert_eq!((stats.instances, stats.instances_active), (2, 0));
        assert_eq!(stats.errors_of(ErrorKind::Trap), 1000);
    });
}

#[test]
fn a_cancelled_call_costs_its_instance_and_nothing_else() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin_of(guard(1, 5000), &sleeps(10_000));
        bench.pools.prepare(&[Arc::clone(&plugin)]).await;
        for round in 1..=50 {
            let mut exchange = Exchange::new(&[&plugin]);
            let turn = crate::io::sleep(Duration::from_millis(1));
            while_running(turn, exchange.request(&bench)).await;
            eventually("a replacement", || stats_of(&bench, &plugin).instances_active == 0).await;
            let stats = stats_of(&bench, &plugin);
            assert_eq!((stats.instances_discarded, stats.instances), (round, 1));
        }
    });
}

#[test]
fn who_finds_no_instance_waits_for_one_in_order() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin_of(guard(1, 5000), &sleeps(2));
        let (bench, order) = (Rc::new(bench), Rc::new(RefCell::new(Vec::new())));
        let tasks: Vec<_> = (0..20)
            .map(|number| {
                let (bench, order) = (Rc::clone(&bench), Rc::clone(&order));
                let plugin = Arc::clone(&plugin);
                monoio::spawn(async move {
                    assert_eq!(answer(Exchange::new(&[&plugin]).request(&bench).await), None);
                    order.borrow_mut().push(number);
                })
            })
            .collect();
        for task in tasks {
            task.await;
        }
        assert_eq!(*order.borrow(), (0..20).collect::<Vec<_>>());
        assert_eq!(stats_of(&bench, &plugin).instances_made, 1);
    });
}

#[test]
fn waiting_for_an_instance_ends_at_the_timeout() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin_of(guard(1, 30), &sleeps(10_000));
        let mut first = Exchange::new(&[&plugin]);
        let mut second = Exchange::new(&[&plugin]);
        let both = async {
            let got = second.request(&bench).await;
            assert_eq!(answer(got).map(|got| got.0), Some(503));
        };
        let got = while_running(first.request(&bench), both).await;
        assert_eq!(answer(got).map(|got| got.0), Some(503));
        let lines = bench.lines();
        assert!(lines.iter().all(|line| line.contains("plugin execution timeout")), "{lines:?}");
    });
}

#[test]
fn many_guests_wait_at_once_while_others_are_served() {
    on_both_drivers(|| async {
        let bench = Rc::new(Bench::new());
        let waits = bench.plugin_of(guard(50, 5000), &sleeps(500));
        let quick = bench.plugin(PluginType::Auth, &answers(GOES_ON));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (bench, waits) = (Rc::clone(&bench), Arc::clone(&waits));
                monoio::spawn(async move { answer(Exchange::new(&[&waits]).request(&bench).await) })
            })
            .collect();
        eventually("all wait", || stats_of(&bench, &waits).instances_active == 50).await;
        for _ in 0..100 {
            assert_eq!(answer(Exchange::new(&[&quick]).request(&bench).await), None);
        }
        for task in tasks {
            assert_eq!(task.await, None);
        }
        assert_eq!(stats_of(&bench, &waits).executions, 50);
    });
}

#[test]
fn a_plugin_that_cannot_be_started_is_backed_off_and_tried_again() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let guest = answers_and(GOES_ON, r#"(func (export "init") (unreachable))"#);
        let plugin = bench.plugin(PluginType::Auth, &guest);
        let failures = bench.pools.prepare(&[Arc::clone(&plugin)]).await;
        assert_eq!(failures.len(), 1);
        assert!(failures[0].reason.starts_with("init: the plugin trapped"), "{failures:?}");
        for _ in 0..100 {
            let got = answer(Exchange::new(&[&plugin]).request(&bench).await);
            assert_eq!(got.map(|got| got.0), Some(503));
        }
        let tried =
            || bench.lines().iter().filter(|line| line.contains("no instance: init")).count();
        // Not a hundred times. (Twice if this machine took longer than the first wait.)
        assert!((1..=2).contains(&tried()));
        assert!(stats_of(&bench, &plugin).errors_of(ErrorKind::Refused) >= 98);
        crate::io::sleep(limits::PLUGIN_BACKOFF.min * 2).await;
        assert!(answer(Exchange::new(&[&plugin]).request(&bench).await).is_some());
        assert_eq!(tried(), 1);
    });
}

#[test]
fn backing_off_doubles_up_to_its_limit() {
    let now = Instant::now();
    let mut backoff = BackedOff::default();
    let waits: Vec<_> = (0..12)
        .map(|_| {
            backoff = backoff.after_failure(now);
            backoff.left(now).unwrap().as_millis()
        })
        .collect();
    assert_eq!(waits[..4], [100, 200, 400, 800]);
    assert_eq!(waits[11], 30_000);
    assert!(backoff.left(now + limits::PLUGIN_BACKOFF.max).is_none());
}

#[test]
fn retired_instances_are_cleaned_up_idle_ones_now_and_busy_ones_when_they_come_back() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let guest = sleeps(60).replacen(
            "(memory",
            r#"(func (export "cleanup") (call $log (i32.const 1024) (i32.const 4))) (memory"#,
            1,
        );
        let old = bench.plugin_of(guard(10, 5000), &guest);
        let new = bench.plugin_of(guard(10, 5000), &answers(GOES_ON));
        bench.pools.prepare(&[Arc::clone(&old)]).await;
        let mut exchange = Exchange::new(&[&old]);
        let retired = async {
            bench.pools.prepare(&[Arc::clone(&new)]).await;
            bench.pools.retire(&[Arc::clone(&new)]).await;
            assert_eq!(bench.lines().len(), 1);
            std::future::pending::<()>().await;
        };
        assert_eq!(answer(while_running(exchange.request(&bench), retired).await), None);
        eventually("the busy one is freed", || stats_of(&bench, &old).instances == 0).await;
        assert_eq!(bench.lines().len(), 1);
        // Its exchange may still call it, in the response phase; nothing is kept after that.
        assert_eq!(answer(exchange.request(&bench).await), None);
        eventually("it is freed, too", || stats_of(&bench, &old).instances == 0).await;
        assert_eq!(bench.lines().len(), 1);
        let weak = Arc::downgrade(&old);
        drop((exchange, old));
        bench.pools.retire(&[Arc::clone(&new)]).await;
        assert_eq!(weak.strong_count(), 0);
        let mut seen = 0;
        bench.pools.stats(|_, _| seen += 1);
        assert_eq!(seen, 1);
    });
}

#[test]
fn a_full_process_refuses_instances_and_recovers() {
    on_both_drivers(|| async {
        let bench =
            Bench::with(super::super::RuntimeOptions { instances_max: 3, ..Default::default() });
        let first = bench.plugin_of(guard(3, 5000), &answers(GOES_ON));
        let second = bench.plugin_of(guard(3, 5000), &answers(GOES_ON));
        bench.pools.prepare(&[Arc::clone(&first)]).await;
        let failures = bench.pools.prepare(&[Arc::clone(&second)]).await;
        assert!(failures[0].reason.contains("no room for another instance"), "{failures:?}");
        // It got one, and that one serves.
        assert_eq!(answer(Exchange::new(&[&second]).request(&bench).await), None);
        bench.pools.retire(&[Arc::clone(&second)]).await;
        assert!(bench.pools.prepare(&[Arc::clone(&second)]).await.is_empty());
    });
}

#[test]
fn what_is_dropped_with_its_runtime_starts_nothing() {
    let bench = Bench::new();
    let plugin = bench.plugin_of(guard(2, 5000), &sleeps(10_000));
    let mut runtime = crate::io::runtime::local().unwrap();
    let bench = Rc::new(bench);
    runtime.block_on(async {
        for _ in 0..3 {
            let (bench, plugin) = (Rc::clone(&bench), Arc::clone(&plugin));
            monoio::spawn(async move { answer(Exchange::new(&[&plugin]).request(&bench).await) });
        }
        crate::io::sleep(Duration::from_millis(2)).await;
        assert_eq!(stats_of(&bench, &plugin).instances_active, 2);
        bench.pools.close();
    });
    drop(runtime);
}

#[test]
fn a_plugin_that_keeps_failing_is_backed_off_and_one_call_tries_it_again() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        // Traps as long as its input has a body.
        let code = "(if (i32.gt_u (local.get $len) (i32.const 2000)) (then (unreachable)))";
        let mut spec = guard(4, 1000);
        spec.body = BodyMode::Whole;
        let plugin = bench.plugin_of(spec, &executes(code));
        bench.pools.prepare(&[Arc::clone(&plugin)]).await;
        let call = async |is_bad: bool| {
            let mut exchange = Exchange::new(&[&plugin]);
            exchange.request_body.given = is_bad.then(|| vec![b'x'; 4000]);
            answer(exchange.request(&bench).await).map(|refusal| refusal.1)
        };
        // Failures between which calls succeed are nothing to back off from.
        for _ in 0..limits::PLUGIN_FAILURES_BEFORE_BACKOFF {
            assert!(call(true).await.unwrap().contains("trapped"));
            assert_eq!(call(false).await, None);
        }
        for _ in 0..limits::PLUGIN_FAILURES_BEFORE_BACKOFF {
            assert!(!stats_of(&bench, &plugin).is_backed_off);
            assert!(call(true).await.unwrap().contains("trapped"));
        }
        assert!(stats_of(&bench, &plugin).is_backed_off);
        let executed = stats_of(&bench, &plugin).instances_discarded;
        assert!(call(false).await.unwrap().contains("not available"));
        assert!(bench.lines().pop().unwrap().contains("backed off: its last 50 calls failed"));
        assert_eq!(stats_of(&bench, &plugin).instances_discarded, executed);

        // The first try fails, which doubles the wait; the second does not.
        crate::io::sleep(limits::PLUGIN_BACKOFF.min).await;
        assert!(call(true).await.unwrap().contains("trapped"));
        assert!(call(false).await.unwrap().contains("not available"));
        crate::io::sleep(limits::PLUGIN_BACKOFF.min * 2).await;
        assert_eq!(call(false).await, None);
        assert!(!stats_of(&bench, &plugin).is_backed_off);
        assert_eq!(call(false).await, None);
    });
}

#[test]
fn a_try_that_is_cancelled_leaves_the_next_call_to_try() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let plugin = bench.plugin_of(guard(1, 1000), &sleeps(500));
        bench.pools.prepare(&[Arc::clone(&plugin)]).await;
        let pool = bench.pools.pool(&plugin).unwrap();
        let due = BackedOff { failures: 1, until: Some(Instant::now()) };
        pool.health.set(CallHealth { failures: 50, backoff: due, is_probing: false });
        for _ in 0..2 {
            let mut exchange = Exchange::new(&[&plugin]);
            let wait = Duration::from_millis(5);
            assert!(crate::io::timeout(wait, exchange.request(&bench)).await.is_err());
        }
        assert_eq!(stats_of(&bench, &plugin).instances_discarded, 2);
        // One whose future is dropped before it has an instance does not block the others either.
        drop(pool.admit().unwrap());
        drop(pool.admit().unwrap());
        let held = pool.admit().unwrap();
        assert!(pool.admit().is_err());
        held.pass();
    });
}

/// A guest that says in its log that it cleans up.
fn tells_its_end() -> String {
    executes("").replacen(
        "(memory",
        r#"(func (export "cleanup") (call $log (i32.const 1024) (i32.const 4))) (memory"#,
        1,
    )
}

#[test]
fn at_the_end_every_instance_cleans_up_once() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let one = bench.plugin_of(guard(10, 5000), &tells_its_end());
        let other = bench.plugin_of(guard(10, 5000), &tells_its_end());
        bench.pools.prepare(&[Arc::clone(&one), Arc::clone(&other)]).await;
        assert_eq!(answer(Exchange::new(&[&one]).request(&bench).await), None);
        bench.pools.end().await;
        assert_eq!(bench.lines().len(), 4);
        bench.pools.end().await;
        assert_eq!(bench.lines().len(), 0);
        assert_eq!(stats_of(&bench, &one).instances, 0);
    });
}

#[test]
fn an_instance_of_one_call_cleans_up_after_it() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let mut spec = guard(4, 5000);
        spec.isolation = super::super::Isolation::Request;
        let plugin = bench.plugin_of(spec, &tells_its_end());
        bench.pools.prepare(&[Arc::clone(&plugin)]).await;
        for _ in 0..3 {
            assert_eq!(answer(Exchange::new(&[&plugin]).request(&bench).await), None);
        }
        eventually("all three are replaced", || {
            let stats = stats_of(&bench, &plugin);
            stats.instances_made == 5 && stats.instances_active == 0
        })
        .await;
        assert_eq!(bench.lines().len(), 3);
        let stats = stats_of(&bench, &plugin);
        assert_eq!((stats.instances, stats.instances_discarded), (2, 0));
        bench.pools.end().await;
        assert_eq!(bench.lines().len(), 2, "those that never were called, too");
    });
}

#[test]
fn a_cleanup_that_never_ends_is_killed_beside_the_others() {
    let endless = executes("").replacen(
        "(memory",
        r#"(func (export "cleanup") (loop $l (br $l))) (memory"#,
        1,
    );
    on_both_drivers(|| async {
        let bench = Bench::new();
        let stuck = bench.plugin_of(guard(10, 100), &endless);
        let well = bench.plugin_of(guard(10, 100), &tells_its_end());
        bench.pools.prepare(&[Arc::clone(&stuck), Arc::clone(&well)]).await;
        bench.pools.end().await;
        let lines = bench.lines();
        let killed = "cleanup: plugin execution timeout: not done within 100ms (timeout), in ";
        let is_killed = |line: &&String| line.contains(killed) && line.ends_with("(kind timeout)");
        assert_eq!(lines.iter().filter(is_killed).count(), 2, "{lines:?}");
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert_eq!(stats_of(&bench, &stuck).errors_of(ErrorKind::Timeout), 2);
    });
}

#[test]
fn a_retired_plugin_that_several_workers_have_had_is_freed() {
    on_both_drivers(|| async {
        let bench = Bench::new();
        let old = bench.plugin_of(guard(1, 5000), &answers(GOES_ON));
        // The pools of two workers.
        let workers = [Pools::new(), Pools::new()];
        for worker in &workers {
            assert!(worker.prepare(std::slice::from_ref(&old)).await.is_empty());
            worker.retire(&[]).await;
        }
        let weak = Arc::downgrade(&old);
        assert!(weak.strong_count() > 1, "a snapshot that holds it may still be served");
        drop(old);
        for worker in &workers {
            worker.retire(&[]).await;
        }
        assert_eq!(weak.strong_count(), 0);
    });
}
