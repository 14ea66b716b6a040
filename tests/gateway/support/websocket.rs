//! WebSockets as tests write them: handshakes, frames, origins that switch.

use odin::http::websocket;

use super::origin::{OriginConnection, Received};
use super::wire::Head;
use super::{Client, Gateway, Origin};

/// The key of RFC 6455's example, and its answer.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What a gateway sends that ends a WebSocket: a close frame, 1001.
pub const GOING_AWAY: [u8; 4] = [0x88, 2, 0x03, 0xe9];

/// The head of a handshake, with more fields.
pub fn handshake(path: &str, fields: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
}

/// A frame of text, as servers send it.
pub fn frame(text: &str) -> Vec<u8> {
    [&[0x81, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

/// The same as clients send it: masked by nothing.
pub fn masked(text: &str) -> Vec<u8> {
    let head = [0x81, u8::try_from(text.len()).unwrap() | 0x80, 0, 0, 0, 0];
    [&head[..], text.as_bytes()].concat()
}

/// The answer that takes a handshake, with more fields.
pub fn accepting(request: &Received, fields: &str) -> String {
    let key = request.head.get("sec-websocket-key").unwrap_or_default();
    let accept = websocket::key(key.as_bytes()).map(|key| websocket::accept(&key));
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Accept: {}\r\n{fields}\r\n",
        accept.unwrap_or_default()
    )
}

/// An origin that takes each handshake, and goes on as `then` says.
pub fn switching(then: impl Fn(&mut OriginConnection) + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |connection, _| {
        let Some(request) = connection.request() else { return };
        if connection.send(accepting(&request, "")) {
            then(connection);
        }
    })
}

/// Sends back what comes, to its end.
pub fn echo(connection: &mut OriginConnection) {
    loop {
        let bytes = connection.some();
        if bytes.is_empty() || !connection.send(bytes) {
            return;
        }
    }
}

/// An origin that takes each handshake and sends back what comes.
pub fn echoing() -> Origin {
    switching(echo)
}

/// A client whose connection has switched, with the head that says so.
pub fn open(gateway: &Gateway, path: &str) -> (Client, Head) {
    let mut client = Client::connect(gateway.addr);
    client.send(handshake(path, ""));
    let head = client.head();
    assert_eq!(head.status(), Ok(101), "{head}");
    (client, head)
}

/// Sends a text and reads it again.
pub fn assert_echoes(client: &mut Client, text: &str) {
    let bytes = masked(text);
    client.send(&bytes);
    assert_eq!(client.take(bytes.len()), bytes);
}
