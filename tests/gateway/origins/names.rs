//! Names that name servers know: their addresses, their SRV records, their time to live.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::served;
use crate::support::dns::{Data, NameServer};
use crate::support::failing::Failing;
use crate::support::{Gateway, Setup, get, wait_until};

const A: Data = Data::A(Ipv4Addr::LOCALHOST);

fn gateway(names: &NameServer, keys: &str) -> Gateway {
    Setup::new()
        .server(&format!("nameServers: ['{}']", names.addr))
        .service(&format!("name: a, basePath: /, {keys}, retry: {{}}"))
        .start()
}

#[test]
fn a_name_is_followed_when_its_answers_time_is_over() {
    let listen = |ip: &str, port: u16| std::net::TcpListener::bind((ip, port)).unwrap();
    let first = listen("127.0.0.1", 0);
    let port = first.local_addr().unwrap().port();
    let (one, two) = (Failing::on("one", first), Failing::on("two", listen("127.0.0.2", port)));
    let names = NameServer::start(&[("app.test", 1, A)]);
    let gateway = gateway(&names, &format!("targets: ['http://app.test:{port}']"));
    assert_eq!(served(&gateway, 10), 10);
    assert_eq!((one.count(), two.count()), (10, 0));
    names.knows(&[("app.test", 1, Data::A(Ipv4Addr::new(127, 0, 0, 2)))]);
    wait_until("the moved address is asked", || served(&gateway, 1) == 1 && two.count() > 0);
    let before = one.count();
    assert_eq!(served(&gateway, 10), 10);
    assert_eq!(one.count(), before);
    // Nobody answers any more, then nobody knows it: its last addresses are as good as ever.
    names.is_silent(true);
    let asked = names.questions();
    wait_until("it is asked for in vain", || names.questions() > asked);
    assert_eq!(served(&gateway, 10), 10);
    names.knows(&[]);
    names.is_silent(false);
    gateway.rewrite(&gateway.config().replace("basePath: /,", "basePath: /, timeout: 9s,"));
    let answer = gateway.call("POST", "/api/config/reload", "");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("its last addresses are used"), "{}", answer.text());
    assert_eq!(served(&gateway, 10), 10);
}

#[test]
fn an_interval_of_the_configuration_goes_before_the_answers_time() {
    let origin = Failing::new("a");
    let port = origin.url().rsplit(':').next().unwrap().to_owned();
    let names = NameServer::start(&[("app.test", 1, A)]);
    let of = |resolve: &str| format!("targets: ['http://app.test:{port}']{resolve}");
    let slow = gateway(&names, &of(", resolve: 1h"));
    assert_eq!(served(&slow, 3), 3);
    let asked = names.questions();
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(names.questions(), asked);
    let quick = gateway(&names, &of(""));
    let started = Instant::now();
    wait_until("it is asked again and again", || names.questions() > asked + 8);
    assert!(started.elapsed() > Duration::from_millis(900), "not in a hurry");
    assert_eq!(served(&quick, 3), 3);
}

#[test]
fn srv_records_say_where_how_much_and_who_comes_first() {
    let origins = [Failing::new("a"), Failing::new("b"), Failing::new("c")];
    let port = |at: usize| origins[at].url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let name = "_http._tcp.app.test";
    let host = |name: &'static str| (name, 1, A);
    let records = [
        (name, 1, Data::Srv(10, 300, port(0), "a.test")),
        (name, 1, Data::Srv(10, 100, port(1), "b.test")),
        (name, 1, Data::Srv(20, 9, port(2), "c.test")),
        host("a.test"),
        host("b.test"),
        host("c.test"),
    ];
    let names = NameServer::start(&records);
    let gateway = gateway(&names, &format!("targets: ['http://srv:{name}'], preserveHost: false"));
    assert_eq!(served(&gateway, 40), 40);
    let counts = || origins.each_ref().map(Failing::count);
    let [three, one, none] = counts();
    assert!((28..=32).contains(&three) && three + one == 40 && none == 0, "{three}, {one}, {none}");
    let status = gateway.call("GET", "/api/status", "").json();
    let url = format!("http://srv:{name} (127.0.0.1:{})", port(0));
    assert_eq!(status["targets"][0]["url"], url, "{status}");
    // The next tier when the first is dead, and not before.
    origins[0].dies();
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!(counts()[2], 0);
    origins[1].dies();
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!(counts()[2], 20);
    origins[0].comes_back();
    let before = counts()[0];
    wait_until("the first tier is asked again", || {
        assert_eq!(get(gateway.addr, "/").status, 200);
        counts()[0] > before + 2
    });
    // A record goes, and one comes: b is where it says now.
    let moved = Failing::new("moved");
    let at = moved.url().rsplit(':').next().unwrap().parse().unwrap();
    names.knows(&[(name, 1, Data::Srv(0, 0, at, "b.test")), host("b.test")]);
    wait_until("the new one is asked", || {
        assert_eq!(get(gateway.addr, "/").status, 200);
        moved.count() > 0
    });
    let before = counts();
    assert_eq!(served(&gateway, 10), 10);
    assert_eq!(counts(), before);
}

#[test]
fn who_is_drained_stays_so_when_srv_records_move_and_when_it_comes_back() {
    let origins = [Failing::new("a"), Failing::new("b"), Failing::new("c")];
    let port = |at: usize| origins[at].url().rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let name = "_http._tcp.app.test";
    let hosts = ["a.test", "b.test", "c.test"];
    let knows = |places: &[usize]| -> Vec<_> {
        let services = places.iter().map(|at| (name, 1, Data::Srv(1, 1, port(*at), hosts[*at])));
        services.chain(hosts.map(|host| (host, 1, A))).collect()
    };
    let names = NameServer::start(&knows(&[0, 1]));
    let gateway = gateway(&names, &format!("targets: ['http://srv:{name}'], preserveHost: false"));
    let state = |at: usize| {
        let status = gateway.call("GET", "/api/status", "").json();
        let url = format!("http://srv:{name} (127.0.0.1:{})", port(at));
        let targets = status["targets"].as_array().unwrap().clone();
        let found = targets.into_iter().find(|target| target["url"] == *url);
        found.map(|target| target["state"].as_str().unwrap().to_owned())
    };
    let url = format!("http://srv:{name} (127.0.0.1:{})", port(0));
    let body = format!("{{\"url\": \"{url}\", \"drained\": true}}");
    let done = gateway.call("PUT", "/api/targets/drained", &body);
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(state(0).as_deref(), Some("drained"));
    names.knows(&knows(&[0, 2]));
    wait_until("the records have moved", || state(2).is_some() && state(1).is_none());
    assert_eq!(state(0).as_deref(), Some("drained"));
    let before = origins[0].count();
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!(origins[0].count(), before);
    // It goes, and is drained when it comes back: nobody has restored it.
    names.knows(&knows(&[2]));
    wait_until("it has gone", || state(0).is_none());
    names.knows(&knows(&[0, 2]));
    wait_until("it is back", || state(0).is_some());
    assert_eq!(state(0).as_deref(), Some("drained"));
    assert_eq!(served(&gateway, 20), 20);
    assert_eq!(origins[0].count(), before);
}

#[test]
fn a_name_without_records_is_told_and_asked_for_again() {
    let origin = Failing::new("a");
    let port = origin.url().rsplit(':').next().unwrap().parse().unwrap();
    let names = NameServer::start(&[]);
    let gateway = gateway(&names, "targets: ['http://srv:_http._tcp.app.test']");
    assert_eq!(get(gateway.addr, "/").status, 502);
    let log = gateway.log();
    assert!(log.contains("cannot resolve _http._tcp.app.test"), "{log}");
    names.knows(&[("_http._tcp.app.test", 1, Data::Srv(1, 1, port, "a.test")), ("a.test", 1, A)]);
    wait_until("it is there", || get(gateway.addr, "/").status == 200);
}
