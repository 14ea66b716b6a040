//! The dashboard's page and its stream of events, as a browser is sent them. What the page does
//! with them is tested in a browser: tests/browser.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use odin::limits::ADMIN_STALL_TIMEOUT;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::{Client, Gate, Gateway, Origin, Setup, get, wait_until};

/// Somebody who watches `/api/events`.
struct Watcher {
    stream: TcpStream,
    text: String,
}

impl Watcher {
    fn new(gateway: &Gateway, fields: &str) -> Self {
        use std::io::Write;
        let mut stream = TcpStream::connect(gateway.admin).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let host = gateway.admin;
        let head = format!("GET /api/events HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        write!(stream, "{head}{fields}\r\n").unwrap();
        Self { stream, text: String::new() }
    }

    /// Reads until the text has `end` in it and gives what stood before it; `None` if there is no
    /// more.
    fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((before, after)) = self.text.split_once(end) {
                let (before, after) = (before.to_owned(), after.to_owned());
                self.text = after;
                return Some(before);
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).unwrap() {
                0 => return None,
                size => self.text.push_str(&String::from_utf8_lossy(&buffer[..size])),
            }
        }
    }

    fn head(&mut self) -> String {
        self.until("\r\n\r\n").unwrap()
    }

    /// The next document; `None` after the last.
    fn next(&mut self) -> Option<Value> {
        let event = self.until("\n\n")?;
        let (_, document) = event.split_once("data: ").unwrap();
        Some(serde_json::from_str(document).unwrap())
    }
}

#[test]
fn the_page_may_run_its_own_script_and_nothing_else() {
    let gateway = Setup::echo().start();
    let page = gateway.call("GET", "/", "");
    assert_eq!(page.status, 200);
    assert_eq!(page.head.get("content-type").as_deref(), Some("text/html; charset=utf-8"));
    assert_eq!(page.head.get("cache-control").as_deref(), Some("no-store"));
    assert_eq!(page.head.get("x-content-type-options").as_deref(), Some("nosniff"));
    assert_eq!(page.head.get("cross-origin-opener-policy").as_deref(), Some("same-origin"));
    let policy = page.head.get("content-security-policy").unwrap();
    let text = page.text();
    let digest_of = |start: &str, end: &str| {
        let inside = text.split_once(start).unwrap().1.split_once(end).unwrap().0;
        format!("'sha256-{}'", BASE64_STANDARD.encode(Sha256::digest(inside)))
    };
    let script = digest_of("<script type=\"module\">", "</script>");
    let style = digest_of("<style>", "</style>");
    for part in [
        "default-src 'none'".to_owned(),
        format!("script-src {script};"),
        format!("style-src {style};"),
        "connect-src 'self'".to_owned(),
        "frame-ancestors 'none'".to_owned(),
        "require-trusted-types-for 'script'".to_owned(),
    ] {
        assert!(policy.contains(&part), "{part} is not in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
}

#[test]
fn events_count_what_the_gateway_serves() {
    let gateway = Setup::echo().start();
    let mut watcher = Watcher::new(&gateway, "");
    let head = watcher.head();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    assert!(head.contains("cache-control: no-store"), "{head}");
    let before = watcher.next().unwrap();
    assert_eq!(before["status"]["workers"][0]["exchanges"], 0);
    for _ in 0..3 {
        get(gateway.addr, "/");
    }
    let mut last = before["atMs"].as_u64().unwrap();
    let after = loop {
        let event = watcher.next().unwrap();
        let at = event["atMs"].as_u64().unwrap();
        assert!(at - last > 900, "an event came {} ms after the one before", at - last);
        last = at;
        if event["status"]["workers"][0]["exchanges"] == 3 {
            break event;
        }
    };
    let steps = after["durations"]["services"]["all"].as_array().unwrap();
    let count: u64 = steps.iter().map(|step| step[1].as_u64().unwrap()).sum();
    assert_eq!(count, 3, "{steps:?}");
    assert!(after["status"]["services"][0]["timeTotalMicros"].as_u64().unwrap() > 0);
}

#[test]
fn the_page_needs_no_token_and_the_events_do() {
    let gateway = Setup::echo().admin("token: a-token-of-32-letters-0123456789").start();
    let page = gateway.call("GET", "/", "");
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("a-token-of"));
    assert!(Watcher::new(&gateway, "").head().starts_with("HTTP/1.1 401"));
    let shown = "Authorization: Bearer a-token-of-32-letters-0123456789\r\n";
    assert!(Watcher::new(&gateway, shown).head().starts_with("HTTP/1.1 200"));
}

#[test]
fn a_watcher_too_many_is_refused_until_another_has_gone() {
    let gateway = Setup::echo().start();
    let mut watchers: Vec<Watcher> = (0..32).map(|_| Watcher::new(&gateway, "")).collect();
    for watcher in &mut watchers {
        assert!(watcher.head().starts_with("HTTP/1.1 200"));
    }
    let refused = gateway.call("GET", "/api/events", "");
    assert_eq!(refused.status, 503);
    assert!(refused.reason().contains("32 watch already"), "{}", refused.text());
    watchers.pop();
    wait_until("a place has come free", || {
        Watcher::new(&gateway, "").head().starts_with("HTTP/1.1 200")
    });
}

#[test]
fn the_last_event_says_that_the_gateway_drains() {
    let gate = Gate::default();
    let held = gate.clone();
    let origin = Origin::scripted(move |connection, _| {
        connection.request();
        held.wait();
        connection.answer("late");
    });
    let mut gateway = Setup::to(&origin).drain_timeout("20s").start();
    let mut watcher = Watcher::new(&gateway, "");
    assert_eq!(watcher.next().unwrap()["status"]["draining"], false);
    // A request that is under way keeps the gateway from ending at once.
    let mut client = Client::connect(gateway.addr);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    origin.wait_requests(1);
    gateway.terminate();
    let mut last = None;
    while let Some(event) = watcher.next() {
        last = Some(event);
    }
    assert_eq!(last.unwrap()["status"]["draining"], true);
    let refused = gateway.call("GET", "/api/events", "");
    assert_eq!(refused.status, 503);
    gate.open();
    assert_eq!(client.response().text(), "late");
    assert_eq!(gateway.wait_exit().code(), Some(0));
}

/// The gateway's end of a connection, by its own number there.
fn other_end(gateway: &Gateway, connection: &TcpStream) -> Option<socket2::Socket> {
    use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
    let pid = gateway.pid();
    let process = pidfd_open(Pid::from_raw(pid as i32)?, PidfdFlags::empty()).unwrap();
    let ours = connection.local_addr().unwrap();
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().find_map(|entry| {
        let number = entry.ok()?.file_name().into_string().ok()?.parse().ok()?;
        let fd = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
        let socket = socket2::Socket::from(fd);
        let peer = socket.peer_addr().ok()?.as_socket()?;
        (peer == ours).then_some(socket)
    })
}

#[test]
fn the_kernel_gives_up_a_watcher_that_takes_nothing() {
    let gateway = Setup::echo().start();
    let mut watcher = Watcher::new(&gateway, "");
    watcher.head();
    let socket = other_end(&gateway, &watcher.stream).expect("the gateway has the other end");
    assert_eq!(socket.tcp_user_timeout().unwrap(), Some(ADMIN_STALL_TIMEOUT));
}

#[test]
fn a_link_of_another_site_leads_to_the_page_alone() {
    let gateway = Setup::echo().start();
    let link =
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let frame = link.replace("document", "iframe");
    let fetched = link.replace("navigate", "no-cors").replace("document", "empty");
    let with_origin = format!("{link}Origin: http://evil.example\r\n");
    for (method, path, fields, status) in [
        ("GET", "/", link, 200),
        ("GET", "/", frame.as_str(), 403),
        ("GET", "/", fetched.as_str(), 403),
        ("GET", "/", with_origin.as_str(), 403),
        ("POST", "/", link, 403),
        ("GET", "/api/status", link, 403),
        ("GET", "/metrics", link, 403),
    ] {
        let answer = gateway.call_with(method, path, fields, "");
        assert_eq!(answer.status, status, "{method} {path} {fields:?}: {}", answer.text());
    }
}
