//! Every plugin that misbehaves on purpose (plugins/canaries), through a gateway: the client gets
//! what the failure mode says, the other connections of the worker go on, the log says why and
//! stays bounded, and memory returns to its level.

use crate::support::{Client, Gate, Gateway, Origin, Setup, get, get_with, post, wait_until};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

/// What resident memory may differ by after each canary has sung many times more, in KiB. A guest
/// that is kept may have grown by what it leaks itself (some 100 KiB each); one hog that is not
/// given back is 6,400.
const LEVEL_KIB: u64 = 16 * 1024;
/// The same after a thousand instances of one canary were replaced: 2 KiB each would show.
const FLAT_KIB: u64 = 2 * 1024;

/// A canary, built by `make plugins`.
fn canary(module: &str) -> Vec<u8> {
    let path = format!("{}/plugins/dist/canaries/{module}.wasm", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}; run `make plugins`"))
}

/// What a canary's song costs: the kind of the error, and a word of its reason. `None`: nothing.
type Cost = Option<(&'static str, &'static str)>;

struct Song {
    mode: String,
    /// Further keys of the plugin.
    keys: &'static str,
    cost: Cost,
}

fn song(mode: impl Into<String>, cost: Cost) -> Song {
    Song { mode: mode.into(), keys: "", cost }
}

/// Everything that can go wrong in `execute`.
fn songs_of_execute() -> Vec<Song> {
    let mut songs = vec![
        song("spin", Some(("timeout", "plugin execution timeout"))),
        song("hog", Some(("memory", "failed to allocate memory"))),
        song("recurse", Some(("trap", "the plugin trapped"))),
        song("error-only", Some(("refused", "the canary could not decide"))),
        // Its 64 MiB are given back with its instance.
        Song {
            keys: "maxMemoryPages: 2500, isolation: request,",
            ..song("flood", Some(("bad_output", "limit is")))
        },
    ];
    for mode in ["trap", "panic", "unreachable"] {
        songs.push(song(mode, Some(("trap", "the plugin trapped"))));
    }
    for mode in [
        "pointer-past-end pointer-near-end pointer-wraps pointer-negative length-4-gib length-zero",
        "null length-whole-memory not-json json-truncated json-trailing json-not-object json-deep",
        "json-wrong-types not-utf8 crlf-value lf-value nul-value crlf-name space-name colon-name",
        "empty-name content-length transfer-encoding connection header-flood status-99 status-101",
        "status-1000",
    ]
    .iter()
    .flat_map(|modes| modes.split(' '))
    {
        songs.push(song(mode, Some(("bad_output", ""))));
    }
    songs
}

/// Host functions called with whatever no SDK would call them with.
fn songs_of_host_calls() -> Vec<Song> {
    let mut songs = Vec::new();
    let functions = "log get_config read_file http_call metric_increment metric_record kv_get \
                     kv_set kv_incr kv_delete kv_cas";
    for function in functions.split_whitespace() {
        for place in ["past-end", "near-end", "wraps", "huge", "negative"] {
            let mode = format!("wild-{function}-{place}");
            // An address outside; or far too long a text, which the guest survives.
            songs.push(song(mode, Some(("trap", "memory"))));
        }
        songs.push(song(format!("wild-{function}-empty"), None));
    }
    songs
}

/// Calls that never come back, trap in the middle, or are far too many.
fn songs_of_floods() -> Vec<Song> {
    vec![
        song("http-trap", Some(("trap", "the plugin trapped"))),
        song("http-garbage", None),
        song("http-storm", None),
        song("kv-flood", None),
        song("metric-flood", None),
        song("log-storm", None),
    ]
}

/// A gateway of one worker with each song twice: under /open and under /closed; /free has none.
fn aviary(module: &str, songs: &[Song], url: &str) -> Gateway {
    let mut setup = Setup::new()
        .service("name: open, basePath: /open, targets: ['builtin:echo']")
        .service("name: closed, basePath: /closed, targets: ['builtin:echo']")
        .service("name: free, basePath: /free, targets: ['builtin:echo']")
        .yaml("kv: {memory: {bytesMax: 8MiB, namespaceBytesMax: 4MiB}}");
    let cache = setup.dir.path().join("cache");
    setup = setup.cached_in(&cache);
    let wasm = canary(module);
    for Song { mode, keys, .. } in songs {
        for failure_mode in ["open", "closed"] {
            let keys = format!(
                "type: request, timeout: 2s, instances: 1, {keys} failureMode: {failure_mode}, \
                 allowedUrls: ['^/{failure_mode}/{mode}$'], \
                 config: {{mode: '{mode}', url: '{url}'}}"
            );
            setup = setup.plugin(&format!("{mode}.{failure_mode}"), &wasm, &keys);
        }
    }
    setup.start()
}

/// Asks /free again and again on one connection until it is dropped.
struct Others {
    answered: AtomicUsize,
    is_over: AtomicBool,
}

impl Others {
    fn during(gateway: &Gateway, test: impl FnOnce(&Self)) {
        let others = Self { answered: AtomicUsize::new(0), is_over: AtomicBool::new(false) };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut client = Client::connect(gateway.addr);
                while !others.is_over.load(Relaxed) {
                    assert_eq!(client.get("/free").status, 200);
                    others.answered.fetch_add(1, Relaxed);
                }
            });
            // Also if the test panics, or the scope would never end.
            let _end = EndsWith(&others.is_over);
            test(&others);
        });
    }

    fn answered(&self) -> usize {
        self.answered.load(Relaxed)
    }

    fn go_on(&self) {
        let before = self.answered();
        wait_until("the other connection is answered", || self.answered() > before + 1);
    }
}

struct EndsWith<'a>(&'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// What the client is told of a kind of error.
fn words_of(kind: &str) -> &'static str {
    match kind {
        "trap" => "it trapped",
        "timeout" => "plugin execution timeout",
        "memory" => "failed to allocate memory",
        "bad_output" => "its output is invalid",
        _ => "it is not available",
    }
}

/// One song in both failure modes, on a connection that goes on.
fn sing(client: &mut Client, Song { mode, cost, .. }: &Song) {
    let closed = client.get(&format!("/closed/{mode}"));
    match cost {
        None => assert_eq!(closed.status, 200, "{mode}: {}", closed.text()),
        Some((kind, _)) => {
            assert_eq!(closed.status, 503, "{mode}: {}", closed.text());
            let reason = closed.reason();
            let expected = format!("plugin \"{mode}.closed\" failed: {}", words_of(kind));
            assert_eq!(reason, expected, "{mode}");
        }
    }
    let open = client.get(&format!("/open/{mode}"));
    assert_eq!(open.status, 200, "{mode}: {}", open.text());
    // What reached the service is what the client sent.
    let headers = open.json()["headers"].as_object().unwrap().clone();
    let names = headers.keys().map(|name| name.to_ascii_lowercase());
    let strange = |name: &String| name.contains("canary") || name.contains("smuggled");
    assert!(!names.clone().any(|name| strange(&name) || name.contains("flood")), "{mode}");
}

/// The log names each song's plugin, the kind of its error and the reason.
fn assert_told(gateway: &Gateway, songs: &[Song]) {
    for Song { mode, cost, .. } in songs {
        let Some((kind, word)) = cost else { continue };
        for failure_mode in ["open", "closed"] {
            let told = format!("(kind {kind}, failure mode {failure_mode})");
            wait_until(&format!("the log tells of {mode}.{failure_mode}: {told}"), || {
                gateway.log().lines().any(|line| {
                    line.contains(&format!("{mode}.{failure_mode}"))
                        && line.contains(&told)
                        && line.contains(word)
                })
            });
        }
    }
}

/// The counters have moved: of each song's plugin, and by its kind of error.
fn assert_counted(gateway: &Gateway, songs: &[Song]) {
    let metrics = gateway.call("GET", "/metrics", "").text();
    let counted = |series: &str| {
        let line = metrics.lines().find_map(|line| line.strip_prefix(series));
        let count = line.unwrap_or_else(|| panic!("no {series}")).trim();
        count.parse::<u64>().unwrap()
    };
    for Song { mode, cost, .. } in songs {
        for failure_mode in ["open", "closed"] {
            let plugin = format!("plugin=\"{mode}.{failure_mode}\"");
            assert!(counted(&format!("wasm_plugin_executions_total{{{plugin}}}")) > 0, "{mode}");
            let failed = counted(&format!("wasm_plugin_errors_total{{{plugin}}}"));
            let kind = cost.map_or("trap", |(kind, _)| kind);
            let series = format!("wasm_plugin_failures_total{{{plugin},kind=\"{kind}\"}}");
            assert_eq!(counted(&series), failed, "{mode}: all are of the kind {kind}");
            assert_eq!(failed > 0, cost.is_some(), "{mode}");
        }
    }
}

/// Sings every song `rounds` times more than once; memory must return to where it was then.
fn sing_all(gateway: &Gateway, songs: &[Song], rounds: usize) {
    Others::during(gateway, |others| {
        let mut client = Client::connect(gateway.addr);
        for song in songs {
            let before = others.answered();
            sing(&mut client, song);
            if song.cost.is_some_and(|(kind, _)| kind == "timeout") {
                let meanwhile = others.answered() - before;
                assert!(meanwhile > 20, "{}: {meanwhile} answers in the meantime", song.mode);
            }
            others.go_on();
        }
        let level = gateway.rss_kib();
        for _ in 0..rounds {
            // What waits for a timeout is left to the first round.
            let quick = |song: &&Song| song.cost.is_none_or(|(kind, _)| kind != "timeout");
            songs.iter().filter(quick).for_each(|song| sing(&mut client, song));
            others.go_on();
        }
        wait_until(&format!("memory returns to its level of {level} KiB"), || {
            gateway.rss_kib() < level + LEVEL_KIB
        });
    });
    assert_told(gateway, songs);
    assert_counted(gateway, songs);
}

#[test]
fn whatever_a_plugin_does_in_execute_costs_its_request_alone() {
    let songs = songs_of_execute();
    let gateway = aviary("canary", &songs, "");
    sing_all(&gateway, &songs, 5);
    // All of them would be let through again, had their instances not been replaced or been sound.
    for Song { mode, .. } in &songs {
        let spare = get_with(gateway.addr, &format!("/closed/{mode}"), "x-canary: spare\r\n");
        assert_eq!(spare.status, 200, "{mode}: {}", spare.text());
    }
}

#[test]
fn whatever_a_plugin_hands_to_host_functions_costs_its_request_alone() {
    let songs = songs_of_host_calls();
    let gateway = aviary("host", &songs, "");
    sing_all(&gateway, &songs, 5);
}

#[test]
fn floods_of_a_plugin_stay_within_the_gateways_bounds() {
    let songs = songs_of_floods();
    let gateway = aviary("host", &songs, "http://free/x");
    sing_all(&gateway, &songs, 3);
    // Ten thousand lines in each call: what is over the rate is counted, and told a second later.
    gateway.wait_log("of the storm");
    let mut client = Client::connect(gateway.addr);
    wait_until("the log tells how many lines were dropped", || {
        client.get("/open/log-storm");
        gateway.log().contains("log lines dropped, limit is 200 a second")
    });
    let log = gateway.log();
    let lines = |seconds: usize| 200 * 2 * seconds;
    let stormy = log.lines().filter(|line| line.contains("of the storm")).count();
    let seconds = log.lines().filter(|line| line.contains("log lines dropped")).count() + 2;
    assert!((200..=lines(seconds)).contains(&stormy), "{stormy} lines in {seconds} s");
    assert!(log.contains("http_call: "), "what http_call refused is told");
}

#[test]
fn a_plugin_that_waits_for_an_origin_for_ever_is_ended_and_nobody_waits_with_it() {
    let gate = Gate::default();
    let held = gate.clone();
    let silent = Origin::scripted(move |connection, _| {
        connection.request();
        held.wait();
    });
    let songs = [song("http-storm", Some(("timeout", "plugin execution timeout")))];
    let gateway = aviary("host", &songs, &silent.url());
    sing_all(&gateway, &songs, 0);
    gate.open();
}

#[test]
fn a_thousand_trapped_instances_leave_memory_flat() {
    const WARM_UP: usize = 200;
    const CYCLES: usize = 1000;
    let songs = [song("trap", Some(("trap", "the plugin trapped")))];
    let gateway = aviary("canary", &songs, "");
    let mut client = Client::connect(gateway.addr);
    let mut cycle = || {
        assert_eq!(client.get("/closed/trap").status, 503);
        // A new instance has taken its place, before 50 failures in a row back the plugin off.
        let spare = "GET /closed/trap HTTP/1.1\r\nHost: a\r\nx-canary: spare\r\n\r\n";
        assert_eq!(client.ask(spare).status, 200);
    };
    (0..WARM_UP).for_each(|_| cycle());
    let before = gateway.rss_kib();
    (0..CYCLES).for_each(|_| cycle());
    let after = gateway.rss_kib();
    assert!(after <= before + FLAT_KIB, "from {before} to {after} KiB");
}

#[test]
fn a_plugin_that_cannot_start_decides_by_its_failure_mode_and_by_nothing_else() {
    for (module, told) in [
        ("trap-init", "init: the plugin trapped"),
        ("trap-start", "_initialize: the plugin trapped"),
        ("spin-init", "init: plugin execution timeout"),
        ("no-execute", "exports no function execute"),
    ] {
        let gateway = aviary(module, &[song("it", None)], "");
        Others::during(&gateway, |others| {
            for _ in 0..3 {
                assert_eq!(get(gateway.addr, "/closed/it").status, 503, "{module}");
                let open = get(gateway.addr, "/open/it");
                assert_eq!(open.status, 200, "{module}: {}", open.text());
                others.go_on();
            }
        });
        gateway.wait_log(told);
    }
}

#[test]
fn an_allocator_that_lies_costs_the_requests_that_ask_it() {
    let gateway = aviary("bad-alloc", &[song("it", None)], "");
    // Larger and larger bodies need larger buffers: the first is sound, the next three are not.
    let mut seen = Vec::new();
    for bytes in [10, 10_000, 40_000, 160_000] {
        let body = "x".repeat(bytes);
        seen.push(post(gateway.addr, "/closed/it", &body).status);
        let open = post(gateway.addr, "/open/it", &body);
        assert_eq!((open.status, open.json()["body"].as_str()), (200, Some(body.as_str())));
    }
    assert_eq!(seen[0], 200);
    assert!(seen[1..].contains(&503), "{seen:?}");
    assert_eq!(post(gateway.addr, "/closed/it", "x").status, 200, "a new instance serves");
}

#[test]
fn a_plugin_that_traps_in_its_cleanup_leaves_in_peace() {
    let mut gateway = aviary("trap-cleanup", &[song("it", None)], "");
    let trapped = "cleanup: the plugin trapped";
    Others::during(&gateway, |others| {
        assert_eq!(get(gateway.addr, "/closed/it").status, 200);
        let unloaded = gateway.call("DELETE", "/api/plugins/unload/it.closed", "");
        assert_eq!(unloaded.status, 200, "{}", unloaded.text());
        gateway.wait_log(trapped);
        others.go_on();
        assert_eq!(get(gateway.addr, "/open/it").status, 200);
    });
    let once = gateway.log().matches(trapped).count();
    assert_eq!(once, 1, "one instance, one cleanup");
    // The instance of the other one has its turn when the gateway ends.
    gateway.terminate();
    assert!(gateway.wait_exit().success());
    gateway.wait_log("drained");
    wait_until("the last line is there", || gateway.log().matches(trapped).count() == 2);
}
