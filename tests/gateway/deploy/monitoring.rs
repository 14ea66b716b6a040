//! Prometheus' rules and Grafana's dashboard: valid, and about metrics that the gateway has.

use std::collections::BTreeSet;
use std::process::Command;

use super::{read, root, run};
use crate::support::{Setup, TempDir, get, wasm};

fn promtool(arguments: &[&str]) -> Command {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments);
    promtool
}

#[test]
fn promtool_accepts_the_alerts_and_they_fire_when_they_should() {
    let file = |name: &str| root("config/deploy/prometheus").join(name);
    run(promtool(&["check", "rules"]).arg(file("alerts.yaml")));
    run(promtool(&["test", "rules"]).arg(file("alerts.test.yaml")));
    run(promtool(&["check", "config", "--syntax-only"]).arg(file("prometheus.yaml")));
    let (rules, tests) = (
        read("config/deploy/prometheus/alerts.yaml"),
        read("config/deploy/prometheus/alerts.test.yaml"),
    );
    for alert in alerts(&rules) {
        let both = tests.matches(&format!("alertname: {alert}")).count();
        assert!(both >= 2, "{alert} is tested with good and with bad traffic");
    }
}

fn alerts(rules: &str) -> Vec<String> {
    let names = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: "));
    let names: Vec<_> = names.map(str::to_owned).collect();
    assert!(names.len() > 5, "{names:?}");
    names
}

#[test]
fn every_alert_has_its_paragraph_in_the_documentation() {
    let (rules, documentation) =
        (read("config/deploy/prometheus/alerts.yaml"), read("docs/operations.md"));
    for alert in alerts(&rules) {
        assert!(documentation.contains(&format!("### {alert}\n")), "no heading {alert}");
        let runbook = format!("runbook: docs/operations.md#{}\n", alert.to_lowercase());
        assert!(rules.contains(&runbook), "{alert} leads to {runbook}");
    }
}

/// The expressions of the dashboard, its variables filled in.
fn expressions() -> Vec<String> {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("config/deploy/grafana/odin.json")).unwrap();
    let mut expressions = Vec::new();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}: the id is taken", panel["title"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            expressions.push(target["expr"].as_str().unwrap().to_owned());
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if let Some(query) = variable["query"]["query"].as_str() {
            let series = query.trim_start_matches("label_values(").rsplit_once(',').unwrap().0;
            expressions.push(series.to_owned());
        }
    }
    let fill = |text: String| {
        let text = text.replace("$__rate_interval", "5m").replace("$__range", "1h");
        text.replace("$instance", ".*").replace("$service", ".*").replace("$plugin", ".*")
    };
    let expressions: Vec<_> = expressions.into_iter().map(fill).collect();
    assert!(expressions.len() > 20 && !expressions.iter().any(|one| one.contains('$')));
    expressions
}

#[test]
fn promtool_accepts_every_expression_of_the_dashboard() {
    let rules = expressions().into_iter().enumerate().map(|(number, expression)| {
        serde_json::json!({ "record": format!("panel:{number}"), "expr": expression })
    });
    let rules: Vec<_> = rules.collect();
    let file = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    let dir = TempDir::new();
    let path = dir.write("rules.yaml", file.to_string());
    run(promtool(&["check", "rules"]).arg(path));
}

#[test]
fn the_alerts_and_the_dashboard_name_metrics_that_the_gateway_has() {
    let gateway = Setup::echo().plugin("good", wasm::passing(), "type: request").start();
    assert_eq!(get(gateway.addr, "/").status, 200);
    let mut known = BTreeSet::new();
    for line in gateway.call("GET", "/metrics", "").text().lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        known.insert(name.to_owned());
        let parts = match kind {
            "histogram" => &["_bucket", "_sum", "_count"][..],
            "summary" => &["_sum", "_count"],
            _ => &[],
        };
        known.extend(parts.iter().map(|part| format!("{name}{part}")));
    }
    let name = regex::Regex::new(r"\b(?:odin|wasm)_[a-z0-9_]+").unwrap();
    let alerts = read("config/deploy/prometheus/alerts.yaml");
    let dashboard = expressions().join("\n");
    for (file, text) in [("alerts", &alerts), ("dashboard", &dashboard)] {
        let mut count = 0;
        for found in name.find_iter(text) {
            assert!(known.contains(found.as_str()), "{file}: no metric {}", found.as_str());
            count += 1;
        }
        assert!(count > 10, "{file}: {count}");
    }
}
