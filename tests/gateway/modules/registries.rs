//! Modules in registries of container images: a real one, and one that gives tokens.

use super::registry::{Registry, cli, good};
use super::shelf::{Answer, Shelf};
use super::{files, keys, module, running, setup};
use crate::support::TempDir;

#[test]
fn a_module_that_was_pushed_runs_by_its_digest_whatever_becomes_of_its_tag() {
    let mut registry = Registry::plain();
    let work = TempDir::new();
    let (one, digest) = module("one");
    let (two, second) = module("two");
    let to = format!("oci://{}/team/x:1", registry.host);
    let push = |wasm: &[u8]| {
        let file = work.write("x.wasm", wasm);
        good(&work, &["push", file.to_str().unwrap(), &to, "--plain-http"])
    };
    let told = push(&one);
    assert!(told.contains(&format!("path: {to}\nsha256: {digest}\n")), "{told}");
    assert_eq!(push(&one), told, "the same module is the same artifact");
    assert!(push(&two).contains(&second), "the tag is another module's now");
    let shelf = Shelf::plain();
    let keys_of_modules = format!("plainHttp: ['{}']", registry.host);
    let (setup, kept) = setup(&shelf, &keys_of_modules);
    let gateway = setup.plugin_entry(&keys("x", &to, &digest)).start();
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    let absent = "0".repeat(64);
    gateway.rewrite(&gateway.config().replace(&digest, &absent));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert!(refused.reason().contains("has no module of this sha256 in team/x"));
    gateway.rewrite(&gateway.config().replace(&absent, &second));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("two"));
    // Back, with the registry away.
    registry.stop();
    gateway.rewrite(&gateway.config().replace(&second, &digest));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    assert_eq!(files(&kept).len(), 2);
}

#[test]
fn what_was_pushed_is_pulled_and_told_of() {
    let registry = Registry::plain();
    let work = TempDir::new();
    let (one, digest) = module("one");
    let file = work.write("x.wasm", &one);
    let schema = work.write("schema.json", "{\"type\": \"object\"}");
    let to = format!("oci://{}/team/x:1", registry.host);
    let pushed = good(
        &work,
        &[
            "push",
            file.to_str().unwrap(),
            &to,
            "--plain-http",
            "--version",
            "1.4.2",
            "--config-schema",
            schema.to_str().unwrap(),
        ],
    );
    let manifest = pushed.lines().next().unwrap().trim_start_matches("# manifest: ").to_owned();
    let told = good(&work, &["inspect", &to, "--plain-http"]);
    let lines = [
        format!("manifest: {manifest}"),
        format!("sha256: {digest}"),
        "org.opencontainers.image.version: 1.4.2".to_owned(),
        "org.opencontainers.image.title: x.wasm".to_owned(),
        "signatures: none".to_owned(),
        "loads: ".to_owned(),
        "odin.module.config-schema: ".to_owned(),
    ];
    lines.iter().for_each(|line| assert!(told.contains(line), "{line} in {told}"));
    let by_digest = format!("oci://{}/team/x@{manifest}", registry.host);
    for from in [&to, &by_digest] {
        good(&work, &["pull", from, "--plain-http", "-o", "pulled.wasm"]);
        assert_eq!(std::fs::read(work.path().join("pulled.wasm")).unwrap(), one);
    }
    let refused = |arguments: &[&str], words: &str| {
        let told = cli(&work, arguments);
        let err = String::from_utf8(told.stderr).unwrap();
        assert!(!told.status.success() && err.contains(words), "{arguments:?}: {err}");
    };
    let other = format!("oci://{}/team/other:1", registry.host);
    refused(&["pull", &other, "--plain-http"], "has no ");
    refused(&["pull", &to], "no connection to");
    refused(&["pull", "registry/x"], "expected oci://registry/repository:tag");
    let page = work.write("page.wasm", "<html>");
    refused(&["push", page.to_str().unwrap(), &to, "--plain-http"], "a gateway would refuse it");
}

#[test]
fn what_envoys_tools_have_pushed_is_pulled() {
    let registry = Registry::plain();
    let work = TempDir::new();
    let (one, digest) = module("one");
    let file = work.write("x.wasm", &one);
    let to = format!("oci://{}/team/x:1", registry.host);
    good(&work, &["push", file.to_str().unwrap(), &to, "--plain-http"]);
    let old = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.module.wasm.config.v1+json",
            "digest": format!("sha256:{digest}"), "size": one.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.module.wasm.content.layer.v1+wasm",
            "digest": format!("sha256:{digest}"), "size": one.len(),
        }],
    });
    registry.put_manifest("team/x", "old", &old);
    let from = format!("oci://{}/team/x:old", registry.host);
    good(&work, &["pull", &from, "--plain-http", "-o", "old.wasm"]);
    assert_eq!(std::fs::read(work.path().join("old.wasm")).unwrap(), one);
}

/// What `docker build` makes is an image of files.
#[test]
fn a_module_in_a_layer_of_files_is_refused_with_the_cure() {
    let registry = Registry::plain();
    let work = TempDir::new();
    let (one, digest) = module("one");
    let file = work.write("x.wasm", &one);
    let to = format!("oci://{}/team/x:1", registry.host);
    good(&work, &["push", file.to_str().unwrap(), &to, "--plain-http"]);
    for kind in [
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ] {
        let layer = |kind: &str| {
            serde_json::json!({
                "mediaType": kind, "digest": format!("sha256:{digest}"), "size": one.len(),
            })
        };
        let image = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": layer("application/vnd.oci.image.config.v1+json"),
            "layers": [layer(kind)],
        });
        registry.put_manifest("team/x", "image", &image);
        let from = format!("{}/team/x:image", registry.host);
        let output = cli(&work, &["pull", &format!("oci://{from}"), "--plain-http"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        assert!(said.contains(&format!("docker create --name m {from} -")), "{said}");
        assert!(said.contains(&format!("odin-cli plugin push plugin.wasm oci://{from}")), "{said}");
    }
}

#[test]
fn a_registry_with_tls_and_users_is_shown_who_one_is() {
    let registry = Registry::guarded();
    let (work, ca) = (TempDir::new(), registry.dir.path().join("ca.pem"));
    let ca = ca.to_str().unwrap();
    let (one, digest) = module("one");
    let file = work.write("x.wasm", &one);
    let password = work.write("password", "s3cret\n");
    let to = format!("oci://{}/team/x:1", registry.host);
    let push = ["push", file.to_str().unwrap(), &to, "--ca", ca];
    let told = cli(&work, &push);
    let err = String::from_utf8(told.stderr).unwrap();
    assert!(!told.status.success() && err.contains("401 Unauthorized"), "{err}");
    let login = ["--username", "odin", "--password-file", password.to_str().unwrap()];
    good(&work, &[&push[..], &login].concat());
    let shelf = Shelf::plain();
    let wrong = format!(
        "ca: {ca}, auth: [{{host: '{}', username: odin, password: wrong1}}]",
        registry.host
    );
    let (setup, _) = setup(&shelf, &wrong);
    let gateway = setup.plugin_entry(&keys("x", &to, &digest)).start();
    gateway.wait_log("401 Unauthorized");
    let auths =
        format!("{{\"auths\": {{\"{}\": {{\"auth\": \"b2RpbjpzM2NyZXQ=\"}}}}}}", registry.host);
    let docker = work.write("config.json", auths);
    let right = format!("ca: {ca}, dockerConfig: {}", docker.display());
    gateway.rewrite(&gateway.config().replace(&wrong, &right));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    assert!(!gateway.log().contains("wrong1") && !gateway.log().contains("s3cret"));
}

#[test]
fn a_registry_that_gives_tokens_is_asked_for_one_by_who_one_is() {
    let shelf = Shelf::secure();
    let (one, digest) = module("one");
    let blob = format!("/v2/team/x/blobs/sha256:{digest}");
    let realm = shelf.url("/token");
    let asks = |realm: &str| format!("Bearer realm=\"{realm}\",service=\"reg\",scope=\"any\"");
    shelf.put(&blob, Answer::Asks(asks(&realm), "Bearer t0ken-1".into(), one));
    let token = "/token?service=reg&scope=repository%3Ateam%2Fx%3Apull";
    let given = Answer::Only("Basic b2RpbjpzM2NyZXQ=".into(), br#"{"token": "t0ken-1"}"#.to_vec());
    shelf.put(token, given);
    let login = format!("auth: [{{host: '{}', username: odin, password: s3cret}}]", shelf.host());
    let (setup, _) = setup(&shelf, &login);
    let to = format!("oci://{}/team/x:1", shelf.host());
    let gateway = setup.plugin_entry(&keys("x", &to, &digest)).start();
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    // Whoever asks for the password elsewhere, without TLS, does not get it.
    let (two, second) = module("two");
    let thief = Shelf::plain();
    let blob = format!("/v2/team/x/blobs/sha256:{second}");
    shelf.put(&blob, Answer::Asks(asks(&thief.url("/token")), "Bearer t0ken-1".into(), two));
    gateway.rewrite(&gateway.config().replace(&digest, &second));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert!(refused.reason().contains("not by https"), "{}", refused.reason());
    assert_eq!(thief.asked().len(), 0);
    for answer in ["{}", "[]", "t0ken", "{\"token\": \"\"}", "{\"token\": \"a\\nb\"}"] {
        shelf.put(token, Answer::Whole(answer.as_bytes().to_vec()));
        let (three, third) = module("three");
        let blob = format!("/v2/team/x/blobs/sha256:{third}");
        shelf.put(&blob, Answer::Asks(asks(&realm), "Bearer t0ken-1".into(), three));
        gateway.rewrite(&gateway.config().replace(&second, &third));
        let refused = gateway.call("POST", "/api/config/reload", "");
        assert!(refused.reason().contains("what is given is none"), "{}", refused.reason());
        gateway.rewrite(&gateway.config().replace(&third, &second));
    }
    assert!(!gateway.log().contains("s3cret") && !gateway.log().contains("t0ken-1"));
}
