//! What happens to a fleet when its etcd has a bad day, under load: no request is lost, no node
//! serves a mixture of two revisions, and each ends at the newest one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::support::{Client, PATIENCE};

/// A document that says its word in two services, which a mixture would tell apart.
fn twins(word: &str) -> String {
    let service = |name: &str| {
        format!(
            "  - name: {name}\n    basePath: /{name}\n    targets: ['builtin:echo']\n    headers: \
             {{X-Word: '{word}'}}\n"
        )
    };
    let calls = "[{name: a, service: a, path: /}, {name: b, service: b, path: /}]";
    let both =
        format!("  - {{name: both, basePath: /, aggregation: {{mode: merge, calls: {calls}}}}}\n");
    format!("services:\n{}{}{both}", service("a"), service("b"))
}

/// The word that a node serves; that of both services is one.
fn served(client: &mut Client) -> String {
    let response = client.get("/");
    assert_eq!(response.status, 200, "{}", response.text());
    let both: Value = serde_json::from_str(&response.text()).unwrap();
    let word = |name: &str| both[name]["headers"]["X-Word"][0].as_str().unwrap().to_owned();
    assert_eq!(word("a"), word("b"), "one request met two revisions");
    word("a")
}

/// Clients of all nodes, which go on until told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<usize>>,
}

impl Traffic {
    fn at(nodes: &[Gateway]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |addr: SocketAddr| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let (mut client, mut count) = (Client::connect(addr), 0);
                while !stop.load(SeqCst) {
                    served(&mut client);
                    count += 1;
                    std::thread::sleep(Duration::from_millis(2));
                }
                count
            })
        };
        let clients = nodes.iter().map(|node| client(node.addr)).collect();
        Self { stop, clients }
    }

    fn end(self) {
        self.stop.store(true, SeqCst);
        for client in self.clients {
            assert!(client.join().expect("no request is lost") > 10);
        }
    }
}

fn start_fleet(etcd: &Etcd, dir: &TempDir) -> Vec<Gateway> {
    let pushed = try_push(etcd, dir, &twins("w1"), &["--no-wait"]);
    assert!(pushed.status.success(), "{}", told(&pushed));
    ["a", "b", "c"].map(|name| node(etcd, name, dir)).into()
}

fn all_serve(nodes: &[Gateway], word: &str) {
    for gateway in nodes {
        let mut client = Client::connect(gateway.addr);
        wait_until(&format!("{word} is served"), || served(&mut client) == word);
    }
}

/// Pushes until it is taken: an election takes a second or two.
fn push_until_taken(etcd: &Etcd, dir: &TempDir, word: &str) {
    let begun = Instant::now();
    loop {
        let pushed = try_push(etcd, dir, &twins(word), &["--no-wait"]);
        if ["nodes serve it", "says the same"].iter().any(|taken| out(&pushed).contains(taken)) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no push is taken: {}", told(&pushed));
    }
}

#[test]
fn no_request_is_lost_while_members_die_and_come_back_and_all_nodes_end_at_the_newest() {
    let (mut etcd, dir) = (Etcd::of(3), TempDir::new());
    let nodes = start_fleet(&etcd, &dir);
    let traffic = Traffic::at(&nodes);
    all_serve(&nodes, "w1");
    // The leader dies, and another one is elected.
    let leader = etcd.leader();
    etcd.kill(leader);
    push_until_taken(&etcd, &dir, "w2");
    all_serve(&nodes, "w2");
    etcd.restart(leader);
    etcd.wait_healthy(leader);
    push_until_taken(&etcd, &dir, "w3");
    all_serve(&nodes, "w3");
    // All die: the last good revision goes on, a restart included.
    (0..3).for_each(|index| etcd.kill(index));
    nodes.iter().for_each(|node| node.wait_log("etcd is not reached"));
    all_serve(&nodes, "w3");
    (0..3).for_each(|index| etcd.restart(index));
    (0..3).for_each(|index| etcd.wait_healthy(index));
    push_until_taken(&etcd, &dir, "w4");
    all_serve(&nodes, "w4");
    traffic.end();
}

/// Commands ask the first member of the list first, and only the leader takes what is written.
#[test]
fn a_member_that_hangs_without_closing_is_left_for_another() {
    let (etcd, dir) = (Etcd::of(3), TempDir::new());
    let nodes = start_fleet(&etcd, &dir);
    let traffic = Traffic::at(&nodes);
    all_serve(&nodes, "w1");
    for (round, hangs) in [|_: &Etcd| 0, Etcd::leader].into_iter().enumerate() {
        let (member, word) = (hangs(&etcd), format!("w{}", 2 * round + 2));
        etcd.signal(member, Signal::STOP);
        push_until_taken(&etcd, &dir, &word);
        all_serve(&nodes, &word);
        etcd.signal(member, Signal::CONT);
        etcd.wait_healthy(member);
        let word = format!("w{}", 2 * round + 3);
        push_until_taken(&etcd, &dir, &word);
        all_serve(&nodes, &word);
    }
    traffic.end();
}

#[test]
fn a_full_database_stops_pushes_with_the_cure_and_no_node() {
    let arguments = vec!["--quota-backend-bytes=4194304".to_owned()];
    let etcd = Etcd::start(1, &Options { arguments, tls: false }, |_| ());
    let dir = TempDir::new();
    let nodes = start_fleet(&etcd, &dir);
    let traffic = Traffic::at(&nodes);
    all_serve(&nodes, "w1");
    let filler = "x".repeat(100_000);
    wait_until("etcd is full", || !etcd.ctl(&["put", "/filler", &filler]).status.success());
    let refused = try_push(&etcd, &dir, &twins("w2"), &["--no-wait"]);
    assert!(!refused.status.success());
    assert!(told(&refused).contains("its database is full"), "{}", told(&refused));
    assert!(told(&refused).contains("etcdctl alarm disarm"), "{}", told(&refused));
    // A node that starts meanwhile serves, and says that nobody hears of it.
    let late = node(&etcd, "late", &dir);
    late.wait_log("what this node runs cannot be reported");
    assert_eq!(served(&mut Client::connect(late.addr)), "w1");
    etcd.must(&["del", "/filler"]);
    let header = etcd.must(&["get", "/filler", "-w", "json"]);
    let header: Value = serde_json::from_str(&header).unwrap();
    etcd.must(&["compact", &header["header"]["revision"].to_string()]);
    etcd.must(&["defrag"]);
    etcd.must(&["alarm", "disarm"]);
    push_until_taken(&etcd, &dir, "w2");
    all_serve(&nodes, "w2");
    all_serve(std::slice::from_ref(&late), "w2");
    wait_until("the late node is heard of", || must(&etcd, &["status"]).contains("  late  "));
    traffic.end();
}

#[test]
fn a_node_that_was_away_while_history_was_compacted_catches_up() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    let mut nodes = start_fleet(&etcd, &dir);
    all_serve(&nodes, "w1");
    // One hangs, one is down, one goes on.
    let (hangs, down) = (nodes.remove(0), nodes.remove(0));
    hangs.signal(Signal::STOP);
    drop(down);
    for at in 2..=6 {
        push_until_taken(&etcd, &dir, &format!("w{at}"));
    }
    let header = etcd.must(&["get", "/odin/live/current", "-w", "json"]);
    let header: Value = serde_json::from_str(&header).unwrap();
    etcd.must(&["compact", "--physical", &header["header"]["revision"].to_string()]);
    hangs.signal(Signal::CONT);
    let down = node(&etcd, "b", &dir);
    all_serve(&[hangs, down], "w6");
    all_serve(&nodes, "w6");
}

#[test]
fn an_etcd_that_has_lost_everything_takes_no_node_with_it() {
    let (mut etcd, dir) = (Etcd::one(), TempDir::new());
    let nodes = start_fleet(&etcd, &dir);
    push_until_taken(&etcd, &dir, "w2");
    all_serve(&nodes, "w2");
    etcd.must(&["del", "--prefix", "/odin/"]);
    etcd.kill(0);
    etcd.restart(0);
    etcd.wait_healthy(0);
    all_serve(&nodes, "w2");
    // A new history begins at 1, and is followed all the same.
    push_until_taken(&etcd, &dir, "w3");
    all_serve(&nodes, "w3");
    assert!(must(&etcd, &["history"]).contains("*     1"));
}

#[test]
fn nothing_half_written_is_loaded_whenever_a_node_is_killed() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    let pushed = try_push(&etcd, &dir, &twins("w0"), &["--no-wait"]);
    assert!(pushed.status.success(), "{}", told(&pushed));
    for round in 1..=12 {
        let mut gateway = node(&etcd, "a", &dir);
        let word = served(&mut Client::connect(gateway.addr));
        let before = format!("w{}", round - 1);
        wait_until("it serves the newest", || served(&mut Client::connect(gateway.addr)) == before);
        // Killed somewhere between the push and its end.
        push_until_taken(&etcd, &dir, &format!("w{round}"));
        let pause = Duration::from_micros(700 * round);
        let end = Instant::now() + pause;
        while Instant::now() < end {
            std::thread::yield_now();
        }
        gateway.signal(Signal::KILL);
        gateway.wait_exit();
        assert!(word.starts_with('w'));
        let file = dir.path().join("a/document");
        let kept = std::fs::read(&file).unwrap();
        let text = String::from_utf8_lossy(&kept);
        assert!(
            text.contains(&format!("'{before}'")) || text.contains(&format!("'w{round}'")),
            "{text}"
        );
    }
    // What a disk has made of it is not loaded either.
    let file = dir.path().join("a/document");
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let gateway = node(&etcd, "a", &dir);
    assert_eq!(served(&mut Client::connect(gateway.addr)), "w12");
}

/// From the transaction to an answer of every worker of every node.
#[test]
fn a_push_is_served_by_every_worker_of_every_node_at_once() {
    let (etcd, dir) = (Etcd::one(), TempDir::new());
    let pushed = try_push(&etcd, &dir, &twins("w0"), &["--no-wait"]);
    assert!(pushed.status.success(), "{}", told(&pushed));
    let nodes = ["a", "b", "c"].map(|name| setup(&etcd, name, &dir).workers(2).start());
    // Connections are shared out by the kernel: some reach each worker.
    let mut clients: Vec<Client> =
        nodes.iter().flat_map(|node| (0..8).map(|_| Client::connect(node.addr))).collect();
    let mut times = Vec::new();
    for round in 1..=20 {
        let word = format!("w{round}");
        let (text, file) = (twins(&word), dir.path().join("next.yaml"));
        std::fs::write(&file, text).unwrap();
        // By the store's own transaction: a command's start is no part of it.
        let written = store_push(&etcd, &file);
        for client in &mut clients {
            while served(client) != word {
                std::thread::yield_now();
            }
        }
        times.push(written.elapsed());
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    eprintln!("put to served by all: median {median:?}, worst of {} {worst:?}", times.len());
    assert!(worst < Duration::from_secs(5), "{times:?}");
}

/// Pushes a file, and tells when the transaction began.
fn store_push(etcd: &Etcd, file: &Path) -> Instant {
    use odin::control::config::{Etcd as Access, EtcdTls, etcd_endpoint};
    use odin::control::fleet::operator::{Operator, Order};
    use odin::control::fleet::rollout::Bar;
    let endpoints = etcd.urls().iter().map(|url| etcd_endpoint(url).unwrap()).collect();
    let tls = EtcdTls::default();
    let access = Access { endpoints, prefix: "/odin".to_owned(), user: None, tls };
    let mut operator = Operator::connect(access).unwrap();
    let base = operator.live().unwrap();
    let zero = Duration::ZERO;
    let order = Order {
        text: std::fs::read_to_string(file).unwrap(),
        note: String::new(),
        from: None,
        canary: None,
        bar: Bar { wait: zero, hold: zero, errors_percent: 10 },
    };
    let begun = Instant::now();
    operator.push(&base, &order, &|_| ()).unwrap();
    begun
}
