//! The files that have a validator of their own: Dockerfile, manifests, workflows, sysctl.

use std::path::Path;

use base64::Engine as _;

use super::{read, root, run, tool};
use crate::support::{Gateway, TempDir, ask, get};

#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    run(tool("python/bin/hadolint").arg(root("config/deploy/docker/Dockerfile")));
}

#[test]
fn the_manifests_are_what_the_kubernetes_api_takes() {
    let folder = root("config/deploy/kubernetes");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 3, "{files:?}");
    let said = run(tool("python/bin/kubernetes-validate").arg("--strict").args(&files));
    for kind in ["configmap", "deployment", "service", "networkpolicy", "poddisruptionbudget"] {
        assert!(said.contains(&format!("passed for resource {kind}/")), "{kind}: {said}");
    }
}

/// The documents of a manifest.
fn manifest(file: &str) -> Vec<serde_json::Value> {
    let text = read(file);
    text.split("\n---\n").map(|text| yaml_serde::from_str(text).unwrap()).collect()
}

fn of_kind(documents: &[serde_json::Value], kind: &str) -> serde_json::Value {
    documents.iter().find(|document| document["kind"] == kind).unwrap().clone()
}

/// The two ConfigMaps as a node mounts them: links to links, which an update turns.
#[test]
fn the_manifests_configuration_and_plugins_are_served_and_probed() {
    let documents = manifest("config/deploy/kubernetes/odin.yaml");
    let pod = of_kind(&documents, "Deployment")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let dir = TempDir::new();
    let plugins = of_kind(&manifest("config/deploy/kubernetes/wasm-plugins.yaml"), "ConfigMap");
    for (name, text) in plugins["binaryData"].as_object().unwrap() {
        let module = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap());
        dir.write(&format!("mounted/..1/{name}"), module.unwrap());
        std::os::unix::fs::symlink(format!("..data/{name}"), dir.path().join("mounted").join(name))
            .unwrap();
    }
    std::os::unix::fs::symlink("..1", dir.path().join("mounted/..data")).unwrap();

    let config =
        of_kind(&documents, "ConfigMap")["data"]["config.yaml"].as_str().unwrap().to_owned();
    let mut text = config;
    for (from, to) in [
        ("listen: 0.0.0.0:8080", "listen: 127.0.0.1:0".to_owned()),
        ("listen: 0.0.0.0:8081", "listen: 127.0.0.1:0".to_owned()),
        ("/etc/odin/plugins", dir.path().join("mounted").display().to_string()),
        ("http://users-service.default.svc.cluster.local:8080", "builtin:echo".to_owned()),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, &to);
    }
    let cache = dir.path().join("cache/modules").display().to_string();
    let env = [("ODIN_ADMIN_TOKEN", "t0ken".to_owned()), ("CACHE_DIRECTORY", cache)];
    let env = env.map(|(name, value)| (name.to_owned(), value));
    let text = text.replace("format: json", "format: text");
    let gateway = Gateway::start(dir, &text, &env);

    assert_eq!(get(gateway.addr, "/api/users").status, 200);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().unwrap();
        // By the pod's address and without a token, as the kubelet asks.
        let head =
            format!("GET {path} HTTP/1.1\r\nHost: 10.0.0.7:8081\r\nConnection: close\r\n\r\n");
        let answer = ask(gateway.admin, head);
        assert_eq!(answer.status, 200, "{probe}: {}", answer.text());
    }
    assert_eq!(gateway.call("GET", "/metrics", "").status, 401);
    let token = "Authorization: Bearer t0ken\r\n";
    let shown = gateway.call_with("GET", "/api/plugins", token, "").json();
    for plugin in shown["plugins"].as_array().unwrap() {
        assert_eq!(plugin["status"], "active", "{plugin}");
    }
    let cached = gateway.dir().path().join("cache/modules").read_dir().unwrap().count();
    assert!(cached > 0, "compiled plugins are kept where the volume is");
}

#[test]
fn the_pods_ports_and_mounts_are_those_of_its_configuration() {
    let documents = manifest("config/deploy/kubernetes/odin.yaml");
    let config: serde_json::Value = yaml_serde::from_str(
        of_kind(&documents, "ConfigMap")["data"]["config.yaml"].as_str().unwrap(),
    )
    .unwrap();
    let pod = of_kind(&documents, "Deployment")["spec"]["template"]["spec"].clone();
    let container = &pod["containers"][0];
    let port = |listen: &serde_json::Value| -> u64 {
        listen.as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
    };
    let ports = container["ports"].as_array().unwrap();
    let of = |name: &str| ports.iter().find(|port| port["name"] == name).unwrap();
    assert_eq!(of("http")["containerPort"], port(&config["server"]["listen"]));
    assert_eq!(of("admin")["containerPort"], port(&config["admin"]["listen"]));
    let mounts: Vec<_> = container["volumeMounts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mount| mount["mountPath"].as_str().unwrap())
        .collect();
    assert!(mounts.contains(&config["wasm"]["pluginDir"].as_str().unwrap()), "{mounts:?}");
    let file = Path::new(container["args"][1].as_str().unwrap());
    assert!(mounts.contains(&file.parent().unwrap().to_str().unwrap()), "{mounts:?}");
    let seconds = |text: &str| text.trim_end_matches('s').parse::<u64>().unwrap();
    let drain = seconds(config["server"]["drainTimeout"].as_str().unwrap());
    let wait = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(wait + drain < grace, "it is killed while it drains");
    assert_eq!(container["resources"]["limits"]["cpu"], config["server"]["workers"].to_string());
}

#[test]
fn actionlint_finds_nothing_in_the_workflows() {
    for file in ["ci.yml", "perf.yml"] {
        run(tool("actionlint").arg("-no-color").arg(root(".github/workflows").join(file)));
    }
}

#[test]
fn the_workflows_run_make_targets_that_exist() {
    let makefile = read("Makefile");
    let mut count = 0;
    for file in [".github/workflows/ci.yml", ".github/workflows/perf.yml"] {
        for line in read(file).lines() {
            let Some((_, targets)) = line.split_once("run: make ") else {
                continue;
            };
            for target in targets.split_whitespace() {
                let rule = format!("\n{target}:");
                assert!(makefile.contains(&rule), "{file}: make {target}: no such target");
                count += 1;
            }
        }
    }
    assert!(count >= 3, "the workflows do something");
}

#[test]
fn the_sysctls_are_known_to_the_kernel() {
    let mut count = 0;
    for line in read("config/deploy/sysctl/90-odin.conf").lines() {
        let Some((name, value)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) else {
            continue;
        };
        assert!(value.split(' ').all(|number| number.parse::<u64>().is_ok()), "{line}");
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        // A container does not see those of the whole machine.
        assert!(path.exists() || name.starts_with("fs."), "{}", path.display());
        let documentation = read("docs/operations.md");
        assert!(documentation.contains(&format!("`{name}`")), "docs/operations.md lacks {name}");
        count += 1;
    }
    assert!(count >= 6, "{count}");
}
