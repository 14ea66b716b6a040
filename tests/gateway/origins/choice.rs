//! Who gets a request: by turn, by key, by what targets have to do.

use std::collections::{BTreeMap, HashMap};

use super::{in_front, three};
use crate::support::failing::{Failing, Mode};
use crate::support::{Client, get, get_with};

#[test]
fn a_key_leads_to_its_target_as_long_as_that_is_well() {
    let (origins, gateway) =
        three("loadBalancing: consistent-hash, hash: {header: X-User}, retry: {}");
    let of = |user: usize| get_with(gateway.addr, "/", &format!("X-User: u{user}\r\n")).text();
    let first: Vec<String> = (0..60).map(of).collect();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    first.iter().for_each(|name| *sizes.entry(name).or_default() += 1);
    assert!(sizes.len() == 3 && sizes.values().all(|size| *size > 5), "{sizes:?}");
    assert_eq!((0..60).map(of).collect::<Vec<_>>(), first);
    // A reload that changes something else moves nobody.
    gateway.rewrite(&gateway.config().replace("retry: {}", "retry: {}, timeout: 9s"));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    assert_eq!((0..60).map(of).collect::<Vec<_>>(), first);
    origins[0].dies();
    for (user, before) in first.iter().enumerate() {
        let now = of(user);
        assert!(now == *before || before == "a", "{user} moved from {before} to {now}");
        assert_ne!(now, "a");
    }
}

#[test]
fn the_same_cookie_and_the_same_client_meet_the_same_target() {
    for hash in ["cookie: session", "ip: true"] {
        let (_origins, gateway) =
            three(&format!("loadBalancing: consistent-hash, hash: {{{hash}}}"));
        let of = |n: usize| {
            let fields = format!("Cookie: a=b; session=s{n}\r\n");
            get_with(gateway.addr, "/", &fields).text()
        };
        let mut seen = HashMap::new();
        for n in (0..20).chain(0..20) {
            let now = of(n);
            assert_eq!(*seen.entry(n).or_insert_with(|| now.clone()), now, "{hash}");
        }
        let names: std::collections::HashSet<_> = seen.values().collect();
        assert_eq!(names.len() == 1, hash == "ip: true", "{names:?}");
    }
}

#[test]
fn who_is_slow_gets_fewer_requests_where_that_is_asked_for() {
    for algorithm in ["least-connections", "p2c"] {
        let (origins, gateway) = three(&format!("loadBalancing: {algorithm}"));
        origins[0].becomes(Mode::Slow(100));
        let addr = gateway.addr;
        let clients: Vec<_> = (0..6)
            .map(|_| {
                std::thread::spawn(move || {
                    let mut client = Client::connect(addr);
                    for _ in 0..40 {
                        assert_eq!(client.get("/").status, 200);
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        let slow = origins[0].count();
        assert!(slow < 60, "{algorithm}: {slow} of 240 went to the slow one");
        assert!(slow > 0, "{algorithm}: it is asked now and then");
    }
}

#[test]
fn weights_hold_for_every_algorithm_that_knows_no_key() {
    for algorithm in ["round-robin", "random", "least-connections", "p2c"] {
        let origins = [Failing::new("light"), Failing::new("heavy")];
        let targets =
            format!("{{url: '{}'}}, {{url: '{}', weight: 3}}", origins[0].url(), origins[1].url());
        let gateway = crate::support::Setup::new()
            .service(&format!(
                "name: a, basePath: /, targets: [{targets}], loadBalancing: {algorithm}"
            ))
            .start();
        for _ in 0..200 {
            assert_eq!(get(gateway.addr, "/").status, 200);
        }
        let heavy = origins[1].count();
        assert!(heavy > 110, "{algorithm}: {heavy} of 200");
    }
}

#[test]
fn a_target_that_is_new_gets_its_share_little_by_little() {
    let origins = [Failing::new("old"), Failing::new("new")];
    let gateway = in_front(&origins[..1], "slowStart: 60s").start();
    let both = format!("'{}', '{}'", origins[0].url(), origins[1].url());
    let one = format!("'{}'", origins[0].url());
    gateway.rewrite(&gateway.config().replace(&one, &both));
    assert_eq!(gateway.call("POST", "/api/config/reload", "").status, 200);
    for _ in 0..200 {
        assert_eq!(get(gateway.addr, "/").status, 200);
    }
    let new = origins[1].count();
    assert!((1..60).contains(&new), "{new} of 200 went to the new one");
}
