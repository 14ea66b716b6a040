//! What the gateway tells of itself: `/metrics` as Prometheus reads it, `/api/status` at a glance.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::{Client, Gateway, Origin, Setup, get, wait_until, wasm};

pub fn scrape(gateway: &Gateway) -> String {
    let answer = gateway.call("GET", "/metrics", "");
    assert_eq!(answer.status, 200);
    answer.text()
}

/// The value of the series whose name and labels are `series`.
pub fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics
        .lines()
        .find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no {series} in\n{metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

/// Two plugins, one of which fails at each call.
fn measured() -> Setup {
    Setup::echo().plugin("good", wasm::passing(), "type: request").plugin(
        "bad",
        wasm::trapping(),
        "type: response, failureMode: open",
    )
}

#[test]
fn the_five_metrics_of_the_page_are_there_and_move() {
    let gateway = measured().workers(2).start();
    for _ in 0..10 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    let metrics = scrape(&gateway);
    for (series, expected) in [
        (r#"wasm_plugin_executions_total{plugin="good"}"#, 10.0),
        (r#"wasm_plugin_errors_total{plugin="good"}"#, 0.0),
        (r#"wasm_plugin_execution_duration_seconds_count{plugin="good"}"#, 10.0),
        (r#"wasm_plugin_execution_duration_seconds_bucket{plugin="good",le="+Inf"}"#, 10.0),
        (r#"wasm_plugin_instances_active{plugin="good"}"#, 0.0),
        (r#"odin_requests_total{service="all",status="2xx"}"#, 10.0),
        (r#"odin_request_duration_seconds_count{service="all"}"#, 10.0),
        ("odin_generation", 1.0),
    ] {
        assert_eq!(value(&metrics, series), expected, "{series}");
    }
    assert!(value(&metrics, r#"wasm_plugin_memory_bytes{plugin="good"}"#) >= 65536.0);
    assert!(value(&metrics, r#"wasm_plugin_execution_duration_seconds_sum{plugin="good"}"#) > 0.0);
    let errors = value(&metrics, r#"wasm_plugin_errors_total{plugin="bad"}"#);
    assert!(errors > 0.0);
    let traps = value(&metrics, r#"wasm_plugin_failures_total{plugin="bad",kind="trap"}"#);
    let refused = value(&metrics, r#"wasm_plugin_failures_total{plugin="bad",kind="refused"}"#);
    assert_eq!(traps + refused, errors);
}

#[test]
fn counters_go_on_over_a_reload_that_replaces_the_plugin() {
    let gateway = measured().start();
    let series = r#"wasm_plugin_executions_total{plugin="good"}"#;
    assert_eq!(get(gateway.addr, "/").status, 200);
    for round in 1..=3 {
        let code = wasm::setting_headers(&format!(r#""X-Round":["{round}"]"#));
        gateway.replace_plugin("good", code);
        assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
        assert_eq!(get(gateway.addr, "/").status, 200);
        assert_eq!(value(&scrape(&gateway), series), f64::from(round) + 1.0);
    }
    let metrics = scrape(&gateway);
    assert_eq!(value(&metrics, r#"odin_reloads_total{outcome="published"}"#), 3.0);
    assert_eq!(value(&metrics, r#"odin_requests_total{service="all",status="2xx"}"#), 4.0);
    wait_until("the retired snapshots are freed", || {
        value(&scrape(&gateway), "odin_generations_alive") == 1.0
    });
}

#[test]
fn what_the_gateway_refuses_itself_is_counted_by_reason() {
    let gateway = Setup::new()
        .service("name: echo, basePath: /echo, targets: ['builtin:echo']")
        .server("timeouts: {head: 300ms, body: 300ms}")
        .limits("headBytesMax: 4096, uriBytesMax: 1024, bodyBytesMax: 10")
        .start();
    let long = "x".repeat(5000);
    let post = "POST /echo HTTP/1.1\r\nHost: a\r\n";
    let refused = [
        ("no_route", 404, "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n".to_owned()),
        ("bad_request", 400, "GET /echo HTTP/1.1\r\n\r\n".to_owned()),
        ("bad_request_body", 400, format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n")),
        ("head_timeout", 408, "GET /echo HTTP/1.1\r\n".to_owned()),
        ("body_timeout", 408, format!("{post}Content-Length: 5\r\n\r\nx")),
        ("body_too_large", 413, format!("{post}Content-Length: 11\r\n\r\n")),
        ("uri_too_long", 414, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", &long[..2000])),
        ("unsupported_expectation", 417, format!("{post}Expect: tea\r\n\r\n")),
        ("head_too_large", 431, format!("GET /echo HTTP/1.1\r\nX: {long}\r\n\r\n")),
        ("unsupported_coding", 501, format!("{post}Transfer-Encoding: gzip\r\n\r\n")),
        ("unsupported_method", 501, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n".to_owned()),
        ("unsupported_version", 505, "GET /echo HTTP/3.0\r\nHost: a\r\n\r\n".to_owned()),
    ];
    let series = |reason: &str| format!("odin_rejected_total{{reason=\"{reason}\"}}");
    let before = scrape(&gateway);
    for reason in ["over_budget", "no_endpoint"].iter().chain(refused.iter().map(|(r, ..)| r)) {
        assert_eq!(value(&before, &series(reason)), 0.0, "{reason}: there from the start");
    }
    for (reason, status, request) in &refused {
        let response = Client::connect(gateway.addr).ask(request);
        assert_eq!(response.status, *status, "{reason}: {}", response.text());
        wait_until(&format!("{reason} is counted"), || {
            value(&scrape(&gateway), &series(reason)) == 1.0
        });
    }
    // Each under its own reason, and what was served under none.
    assert_eq!(get(gateway.addr, "/echo").status, 200);
    let metrics = scrape(&gateway);
    let all: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("odin_rejected_total{"))
        .map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap())
        .sum();
    assert_eq!(all, refused.len() as f64);
    let status = gateway.call("GET", "/api/status", "").json();
    assert_eq!(status["rejected"]["no_route"], 1);
    assert_eq!(status["rejected"]["over_budget"], 0);
}

#[test]
fn promtool_accepts_the_metrics() {
    let gateway = measured().start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there: make setup installs Debian's prometheus");
    check.stdin.take().unwrap().write_all(scrape(&gateway).as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    let said = [checked.stdout, checked.stderr].concat();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_pages_queries_give_values_in_a_real_prometheus() {
    let gateway = measured().start();
    let admin = gateway.admin;
    let config = gateway.dir().write(
        "prometheus.yml",
        format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs: [{{job_name: odin, static_configs: [{{targets: ['{admin}']}}]}}]\n"
        ),
    );
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", gateway.dir().path().join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("prometheus is there: make setup installs Debian's");
    let _prometheus = Killed(child);
    let query = |query: &str| -> Vec<f64> {
        let asked = Command::new("curl")
            .args(["-sG", &format!("http://127.0.0.1:{port}/api/v1/query"), "--data-urlencode"])
            .arg(format!("query={query}"))
            .output()
            .unwrap();
        let Ok(answer) = serde_json::from_slice::<serde_json::Value>(&asked.stdout) else {
            return Vec::new();
        };
        let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let values = results.iter().filter_map(|result| result["value"][1].as_str()?.parse().ok());
        values.filter(|value: &f64| value.is_finite()).collect()
    };
    // As the page prints them.
    let execution_time = "rate(wasm_plugin_execution_duration_seconds_sum[5m]) \
                          / rate(wasm_plugin_executions_total[5m])";
    let error_rate = "rate(wasm_plugin_errors_total[5m]) / rate(wasm_plugin_executions_total[5m])";
    wait_until("both queries have values for both plugins", || {
        assert_eq!(get(gateway.addr, "/").status, 200);
        let (times, rates) = (query(execution_time), query(error_rate));
        times.len() == 2 && times.iter().all(|time| *time > 0.0) && rates.len() == 2
    });
    let rates = query(error_rate);
    assert!(rates.contains(&0.0) && rates.contains(&1.0), "{rates:?}");
}

/// A process that ends with its value.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_status_shows_quantiles_workers_and_what_does_not_work() {
    let gateway = measured().plugin_entry("name: gone, path: gone.wasm, type: request").start();
    for _ in 0..5 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    let status = gateway.call("GET", "/api/status", "").json();
    assert_eq!(status["requests"]["latency"]["count"], 5, "{status}");
    let latency = &status["services"][0]["latency"];
    let micros = |key: &str| latency[key].as_u64().unwrap();
    assert!(0 < micros("p50Micros") && micros("p50Micros") <= micros("maxMicros"), "{latency}");
    assert_eq!(status["workers"][0]["exchanges"], 5);
    assert_eq!(status["failures"][0]["what"], "plugin gone");
    let plugins = status["plugins"].as_array().unwrap();
    let good = plugins.iter().find(|plugin| plugin["name"] == "good").unwrap();
    assert_eq!(good["executions"], 5, "{good}");
}

/// The value of an upstream series of the service `all`.
fn upstream(metrics: &str, name: &str, label: &str) -> f64 {
    value(metrics, &format!("odin_upstream_{name}{{service=\"all\"{label}}}"))
}

#[test]
fn requests_to_endpoints_are_counted_by_outcome_and_connections_by_use() {
    let origin = Origin::scripted(|connection, _| {
        while let Some(request) = connection.request() {
            let status = request.target.trim_start_matches('/');
            connection.send(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        }
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    for status in [200, 201, 302, 404, 503] {
        assert_eq!(client.get(&format!("/{status}")).status, status);
    }
    let metrics = scrape(&gateway);
    for (outcome, count) in
        [("2xx", 2.0), ("3xx", 1.0), ("4xx", 1.0), ("5xx", 1.0), ("failed", 0.0)]
    {
        let label = format!(",outcome=\"{outcome}\"");
        assert_eq!(upstream(&metrics, "requests_total", &label), count, "{outcome}");
    }
    assert_eq!(upstream(&metrics, "connect_duration_seconds_count", ""), 1.0);
    assert!(upstream(&metrics, "connect_duration_seconds_sum", "") > 0.0);
    assert_eq!(upstream(&metrics, "connections_reused_total", ""), 4.0);
    assert_eq!(upstream(&metrics, "connections_open", ""), 1.0);
    assert_eq!(upstream(&metrics, "connections_idle", ""), 1.0);
    assert_eq!(upstream(&metrics, "requests_active", ""), 0.0);
    let status = gateway.call("GET", "/api/status", "").json();
    let told = &status["services"][0]["upstream"];
    assert_eq!(told["requests"]["2xx"], 2, "{told}");
    assert_eq!(told["connections"]["reused"], 4, "{told}");
}

#[test]
fn failures_of_endpoints_are_counted_by_kind_and_tries_again_as_such() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rude = Origin::raw_then_close("");
    let targets = format!("targets: ['http://{gone}', '{}']", rude.url());
    let gateway = Setup::new().service(&format!("name: all, basePath: /, {targets}")).start();
    assert_eq!(get(gateway.addr, "/").status, 502);
    let metrics = scrape(&gateway);
    let failed = upstream(&metrics, "requests_total", ",outcome=\"failed\"");
    assert_eq!((failed, upstream(&metrics, "retries_total", "")), (2.0, 1.0));
    for (kind, count) in
        [("connect_failed", 1.0), ("upstream_gone", 1.0), ("upstream_timeout", 0.0)]
    {
        let label = format!(",kind=\"{kind}\"");
        assert_eq!(upstream(&metrics, "errors_total", &label), count, "{kind}");
    }
}

#[test]
fn a_request_under_way_is_seen_and_one_that_its_client_leaves_is_aborted() {
    let origin = Origin::scripted(|connection, _| {
        connection.request();
        // Until the gateway closes.
        connection.some();
    });
    let gateway = Setup::to(&origin).start();
    let mut client = Client::connect(gateway.addr);
    client.send("POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\n12345");
    wait_until("the request is under way", || {
        // There is no series before the first request.
        scrape(&gateway).contains("odin_upstream_requests_active{service=\"all\"} 1\n")
    });
    drop(client);
    wait_until("it is over", || {
        let metrics = scrape(&gateway);
        upstream(&metrics, "requests_active", "") == 0.0
            && upstream(&metrics, "requests_total", ",outcome=\"aborted\"") == 1.0
    });
}

#[test]
fn reloads_tell_how_long_they_took_and_when_the_last_one_went_well() {
    let gateway = measured().start();
    let timestamp = "odin_reload_last_success_timestamp_seconds";
    let started = value(&scrape(&gateway), timestamp);
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    let good = gateway.config();
    gateway.rewrite("services: 1");
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 400);
    gateway.rewrite(&good);
    let metrics = scrape(&gateway);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((started..=now.as_secs_f64()).contains(&value(&metrics, timestamp)));
    assert!(value(&metrics, timestamp) > started);
    assert_eq!(value(&metrics, "odin_reload_duration_seconds_count"), 2.0);
    assert!(value(&metrics, "odin_reload_duration_seconds_sum") > 0.0);
}

#[test]
fn metrics_come_in_the_format_and_the_coding_that_is_asked_for() {
    let gateway = measured().start();
    get(gateway.addr, "/");
    let ask = |fields: &str| gateway.call_with("GET", "/metrics", fields, "");
    let head = |answer: &crate::support::Response, name: &str| {
        answer.head.all(name).first().map(ToString::to_string)
    };
    let plain = ask("");
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(head(&plain, "content-type").as_deref(), Some(kind));
    assert!(plain.text().contains("# TYPE odin_exchanges_total counter\n"));

    let open = ask("Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n");
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(head(&open, "content-type").as_deref(), Some(kind));
    let text = open.text();
    assert!(text.contains("# TYPE odin_exchanges counter\n"), "{text}");
    assert!(text.contains("\nodin_exchanges_total{worker=\"0\"} "), "{text}");
    assert!(text.ends_with("\n# EOF\n"), "{text}");
    // Every counter ends as OpenMetrics wants it.
    for line in plain.text().lines().filter(|line| line.ends_with(" counter")) {
        assert!(line.contains("_total counter"), "{line}");
    }

    let coded = ask("Accept-Encoding: gzip\r\n");
    assert_eq!(head(&coded, "content-encoding").as_deref(), Some("gzip"));
    assert_eq!(head(&coded, "vary").as_deref(), Some("accept, accept-encoding"));
    let mut decoded = String::new();
    let mut decoder = flate2::read::GzDecoder::new(&*coded.body);
    std::io::Read::read_to_string(&mut decoder, &mut decoded).unwrap();
    assert!(decoded.contains("# TYPE odin_exchanges_total counter\n"), "{decoded}");
    assert!(coded.body.len() * 4 < decoded.len(), "{}", coded.body.len());
    assert_eq!(head(&ask("Accept-Encoding: gzip;q=0\r\n"), "content-encoding"), None);
}
