//! What a line says, and that a client cannot write one of its own.

use std::sync::mpsc::{Receiver, sync_channel};
use std::time::UNIX_EPOCH;

use super::*;
use crate::http::connection::{ClientCertificate, Connection, Protocol, Scheme};
use crate::http::message::Method;

static CLIENT: Connection = Connection::plain(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));

#[test]
fn a_line_tells_how_the_client_came() {
    let fields = [
        Field::Scheme,
        Field::Protocol,
        Field::Peer,
        Field::TlsVersion,
        Field::TlsCipher,
        Field::ServerName,
        Field::ClientCertificate,
    ];
    let line = |connection: &Connection| {
        let (log, lines) = log(Form::Text, &fields);
        let mut own = Lines::default();
        let answered = Answered { asker: Asker::of(connection), ..answered() };
        own.add(&log, &Asked::default(), &answered);
        own.flush();
        let Ok(Batch::Lines(bytes)) = lines.try_recv() else { panic!("no line") };
        String::from_utf8(bytes).unwrap()
    };
    assert_eq!(line(&CLIENT), "scheme=http protocol=HTTP/1.1 peer=127.0.0.1\n");
    let client = ClientCertificate { subject: "CN=a b".to_owned(), ..Default::default() };
    let tls = TlsFacts {
        version: "TLSv1.3",
        cipher: "TLS13_AES_128_GCM_SHA256",
        server_name: Some("a.example".to_owned()),
        is_resumed: false,
        client: Some(client),
    };
    let secure = Connection {
        scheme: Scheme::Https,
        protocol: Protocol::Http2,
        tls: Some(Box::new(tls)),
        ..CLIENT.clone()
    };
    assert_eq!(
        line(&secure),
        "scheme=https protocol=HTTP/2 peer=127.0.0.1 tls_version=TLSv1.3 \
         tls_cipher=TLS13_AES_128_GCM_SHA256 server_name=a.example client_certificate=\"CN=a b\"\n"
    );
}

fn log(form: Form, fields: &[Field]) -> (Arc<AccessLog>, Receiver<Batch>) {
    let (queue, lines) = sync_channel(1);
    (Arc::new(AccessLog { fields: fields.to_vec(), form, queue }), lines)
}

fn answered() -> Answered<'static> {
    Answered {
        request_id: "17",
        trace_id: "",
        asker: Asker::of(&CLIENT),
        status: 200,
        grpc_status: "",
        body_bytes_sent: 5,
        tunnel_bytes_received: None,
        took: Duration::from_micros(1234),
        service: "users",
        upstream: "",
        error: "",
        worker: 3,
    }
}

fn line(form: Form, fields: &[Field], path: &str) -> String {
    let (log, received) = log(form, fields);
    let request =
        RequestHead { method: Method::Get, path: path.to_owned(), ..RequestHead::default() };
    let mut asked = Asked::default();
    asked.keep(&log, &request);
    let mut lines = Lines::default();
    lines.add(&log, &asked, &answered());
    lines.flush();
    assert_eq!(lines.dropped(), 0);
    match received.recv().unwrap() {
        Batch::Lines(bytes) => String::from_utf8(bytes).unwrap(),
        Batch::Written(_) => panic!("nobody asked"),
    }
}

const SOME: [Field; 6] =
    [Field::Method, Field::Path, Field::Client, Field::Status, Field::DurationMs, Field::Upstream];

#[test]
fn a_line_of_text_has_names_and_values() {
    let text = line(Form::Text, &SOME, "/a");
    assert_eq!(text, "method=GET path=/a client=127.0.0.1 status=200 duration_ms=1.234\n");
}

#[test]
fn a_line_of_json_is_an_object() {
    let text = line(Form::Json, &SOME, "/a");
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let expected = serde_json::json!({
        "method": "GET", "path": "/a", "client": "127.0.0.1", "status": 200, "duration_ms": 1.234
    });
    assert_eq!(value, expected);
}

#[test]
fn a_client_cannot_write_a_line_or_a_field_of_its_own() {
    for path in ["/a\nstatus=500", "/a status=500", "/a\"b", "/a=b", "/\u{1b}[31m"] {
        let text = line(Form::Text, &SOME, path);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("method=GET path=\"/"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let json: serde_json::Value = serde_json::from_str(&line(Form::Json, &SOME, path)).unwrap();
        assert_eq!(json["path"], path);
    }
}

#[test]
fn lines_that_find_the_queue_full_are_counted() {
    let (log, _received) = log(Form::Text, &Field::DEFAULT);
    let mut lines = Lines::default();
    lines.add(&log, &Asked::default(), &answered());
    lines.flush();
    assert_eq!(lines.dropped(), 0, "the queue takes one");
    lines.add(&log, &Asked::default(), &answered());
    lines.add(&log, &Asked::default(), &answered());
    lines.flush();
    assert_eq!(lines.dropped(), 2);
    assert!(lines.is_empty());
}

#[test]
fn every_field_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = Field::ALL.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), Field::ALL.len());
    assert!(Field::ALL.iter().all(|(name, field)| field.name() == *name));
}

#[test]
fn the_clock_knows_the_calendar() {
    let mut clock = Clock::default();
    let mut at = |seconds, millis| {
        clock
            .now(UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis))
            .to_owned()
    };
    assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
    assert_eq!(at(951_782_399, 7), "2000-02-28T23:59:59.007Z");
    assert_eq!(at(951_782_400, 999), "2000-02-29T00:00:00.999Z");
    assert_eq!(at(1_709_251_199, 1), "2024-02-29T23:59:59.001Z");
    assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
}
