//! Signatures: once the gateway's own file names keys, nothing runs that they have not signed,
//! whatever the digests say.

use std::path::PathBuf;

use super::registry::{Registry, cli, good, keys as key_pair};
use super::shelf::{Answer, Shelf};
use super::{files, keys, module, running, setup};
use crate::support::{Gateway, TempDir};

/// Signs a module by `odin-cli`; the file of signatures.
fn signed(dir: &TempDir, wasm: &[u8], key: &str) -> Vec<u8> {
    let file = dir.write("signed.wasm", wasm);
    let beside = PathBuf::from(format!("{}.sig", file.display()));
    let _ = std::fs::remove_file(&beside);
    good(dir, &["sign", file.to_str().unwrap(), "--key", key]);
    std::fs::read(beside).unwrap()
}

#[test]
fn nothing_runs_that_no_named_key_has_signed() {
    let shelf = Shelf::plain();
    let work = TempDir::new();
    let (key, public) = key_pair(work.path(), "good");
    let (other_key, _) = key_pair(work.path(), "other");
    let (one, first) = module("one");
    let (two, second) = module("two");
    shelf.put("/one.wasm", Answer::Whole(one.clone()));
    shelf.put("/one.wasm.sig", Answer::Whole(signed(&work, &one, &key)));
    shelf.put("/two.wasm", Answer::Whole(two.clone()));
    let (setup, kept) = setup(&shelf, &format!("signedBy: [{public}]"));
    let entry = keys("x", &shelf.url("/one.wasm"), &first);
    let gateway = setup.plugin_entry(&entry).start();
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    let next = keys("x", &shelf.url("/two.wasm"), &second);
    gateway.rewrite(&gateway.config().replace(&entry, &next));
    let lies = [
        ("none", Answer::Status(404, "no"), "it is not signed"),
        ("another module's", Answer::Whole(signed(&work, &one, &key)), "none of its signatures"),
        ("another key's", Answer::Whole(signed(&work, &two, &other_key)), "none of its"),
        ("a page", Answer::Status(200, "<html>"), "none of its signatures"),
        ("empty", Answer::Whole(Vec::new()), "none of its signatures"),
        ("long", Answer::Whole(vec![b'a'; 5000]), "none of its signatures"),
        ("endless", Answer::Endless, "where it should have few"),
        ("broken", Answer::Status(500, "no"), "500 Internal Server Error"),
    ];
    for (name, lie, words) in lies {
        shelf.put("/two.wasm.sig", lie);
        let refused = gateway.call("POST", "/api/config/reload", "");
        assert_eq!(refused.status, 422, "{name}: {}", refused.text());
        assert!(refused.reason().contains(words), "{name}: {}", refused.reason());
        assert_eq!(running(&gateway).as_deref(), Some("one"), "{name}");
    }
    assert_eq!(shelf.count("/two.wasm"), 0, "what is not signed is not even fetched");
    let counted = gateway.metric("odin_module_fetch_failures_total{cause=\"signature\"}");
    assert!(counted >= 6.0, "{counted}");
    // Of several one is enough.
    let both = [signed(&work, &two, &other_key), signed(&work, &two, &key)].concat();
    shelf.put("/two.wasm.sig", Answer::Whole(both));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(running(&gateway).as_deref(), Some("two"));
    // What is kept needs no network, signatures included.
    let asked = shelf.asked().len();
    let again = Gateway::start(TempDir::new(), &gateway.config(), &[]);
    assert_eq!(running(&again).as_deref(), Some("two"));
    assert_eq!((shelf.asked().len(), files(&kept).len()), (asked, 4));
}

#[test]
fn a_key_that_is_named_later_judges_what_runs_already() {
    let shelf = Shelf::plain();
    let work = TempDir::new();
    let (key, public) = key_pair(work.path(), "good");
    let (_, unused) = key_pair(work.path(), "other");
    let (one, digest) = module("one");
    shelf.put("/one.wasm", Answer::Whole(one.clone()));
    let (setup, _) = setup(&shelf, "signedBy: []");
    let gateway = setup.plugin_entry(&keys("x", &shelf.url("/one.wasm"), &digest)).start();
    let named = gateway.config().replace("signedBy: []", &format!("signedBy: [{public}]"));
    gateway.rewrite(&named);
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.reason().contains("it is not signed"), "{}", refused.reason());
    shelf.put("/one.wasm.sig", Answer::Whole(signed(&work, &one, &key)));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!(shelf.count("/one.wasm"), 1, "its bytes are there already");
    // A key that is taken out takes its modules with it.
    gateway.rewrite(&named.replace(&public, &unused));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(refused.status, 422, "{}", refused.text());
    gateway.rewrite(&named.replace(&public, "/nowhere.pub"));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert!(refused.reason().contains("modules.signedBy: /nowhere.pub: cannot be read"));
    assert_eq!(running(&gateway).as_deref(), Some("one"));
}

#[test]
fn a_module_is_signed_in_its_registry() {
    let registry = Registry::plain();
    let work = TempDir::new();
    let (key, public) = key_pair(work.path(), "good");
    let (other_key, other) = key_pair(work.path(), "other");
    let (one, digest) = module("one");
    let file = work.write("one.wasm", &one);
    let to = format!("oci://{}/team/one:1", registry.host);
    let file = file.to_str().unwrap();
    good(&work, &["push", file, &to, "--plain-http", "--sign", &key]);
    let shelf = Shelf::plain();
    let (setup, kept) =
        setup(&shelf, &format!("plainHttp: ['{}'], signedBy: [{public}]", registry.host));
    let gateway = setup.plugin_entry(&keys("x", &to, &digest)).start();
    assert_eq!(running(&gateway).as_deref(), Some("one"));
    // Another key takes its place: first its signature, then the key.
    std::fs::remove_dir_all(kept).unwrap();
    let changed = gateway.config().replace(&public, &other);
    gateway.rewrite(&changed);
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert!(refused.reason().contains("none of its signatures"), "{}", refused.reason());
    good(&work, &["sign", &to, "--plain-http", "--key", &other_key]);
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    let told = good(&work, &["inspect", &to, "--plain-http"]);
    assert!(told.contains("signatures: 2, held against no key"), "{told}");
    let config = work.write("gateway.yaml", &changed);
    let told = good(&work, &["inspect", &to, "--config", config.to_str().unwrap()]);
    assert!(told.contains("one of them by a key of modules.signedBy"), "{told}");
    // One that nobody has signed.
    let (two, second) = module("two");
    let file = work.write("two.wasm", &two);
    let at = format!("oci://{}/team/two:1", registry.host);
    good(&work, &["push", file.to_str().unwrap(), &at, "--plain-http"]);
    gateway.rewrite(&changed.replace(&keys("x", &to, &digest), &keys("x", &at, &second)));
    let refused = gateway.call("POST", "/api/config/reload", "");
    assert!(refused.reason().contains("it is not signed"), "{}", refused.reason());
    let told = cli(&work, &["sign", file.to_str().unwrap(), "--key", &public]);
    assert!(!told.status.success());
    assert!(String::from_utf8_lossy(&told.stderr).contains("no private key"));
}
