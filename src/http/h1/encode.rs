//! Writes heads and body framing as HTTP/1.1 bytes.
//!
//! The only place that writes Content-Length, Transfer-Encoding and Connection. What the message
//! types guarantee (names are tokens, values hold no CR or LF) is why nothing is checked here.

use crate::http::cdn_loop;
use crate::http::message::{BodyLength, Fields, RequestHead, ResponseHead};
use crate::text::{decimal, hex_number};

/// How the body that follows a written head is framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// Bytes as they are: their number was announced, or there are none.
    #[default]
    Plain,
    /// In chunks.
    Chunked,
    /// Bytes as they are, and closing the connection ends them (to an HTTP/1.0 client).
    UntilClose,
}

/// Appends a request head; the body follows in the returned framing. `authority` becomes `Host`;
/// `path` and `query` stand as the service wants them, and so do the fields of `set`, in the place
/// of those of their names.
pub fn request_head(
    head: &RequestHead,
    authority: &str,
    path: &str,
    set: &Fields,
    out: &mut Vec<u8>,
) -> Framing {
    request_lines(head, authority, path, set, out);
    let framing = match head.body {
        BodyLength::Empty => Framing::Plain,
        BodyLength::Known(length) => {
            content_length(length, out);
            Framing::Plain
        }
        BodyLength::Unknown => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            Framing::Chunked
        }
    };
    out.extend_from_slice(b"\r\n");
    framing
}

/// The head of a request without its framing and its end.
#[inline]
fn request_lines(head: &RequestHead, authority: &str, path: &str, set: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(path.as_bytes());
    out.extend_from_slice(head.query.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(authority.as_bytes());
    out.extend_from_slice(b"\r\n");
    head.fields.write_lines_with(set, out);
    cdn_loop::write_line(out);
}

/// Appends a request head that asks to go on with another protocol (RFC 9110 section 7.8). No body
/// follows.
pub fn upgrade_head(
    head: &RequestHead,
    authority: &str,
    path: &str,
    protocol: &str,
    out: &mut Vec<u8>,
) -> Framing {
    request_lines(head, authority, path, &Fields::new(), out);
    switch_lines(protocol, out);
    Framing::Plain
}

/// Appends the head of a 101: what follows is of that protocol.
pub fn switching_head(head: &ResponseHead, protocol: &str, out: &mut Vec<u8>) -> Framing {
    status_line(101, out);
    head.fields.write_lines(out);
    switch_lines(protocol, out);
    Framing::Plain
}

fn switch_lines(protocol: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: ");
    out.extend_from_slice(protocol.as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

/// What the connection lets a response be.
#[derive(Debug, Clone, Copy)]
pub struct ResponseForm {
    /// The client speaks HTTP/1.0.
    pub is_http10: bool,
    /// The connection stays open after this response.
    pub keep_alive: bool,
    /// A body follows on the wire (see [`ResponseHead::has_body`]).
    pub has_body: bool,
}

/// Appends a response head; the body follows in the returned framing. `UntilClose` only if
/// `form.keep_alive` is false: see [`must_close`].
pub fn response_head(head: &ResponseHead, form: ResponseForm, out: &mut Vec<u8>) -> Framing {
    status_line(head.status, out);
    head.fields.write_lines(out);
    let mut framing = Framing::Plain;
    match head.body {
        BodyLength::Known(length) if head.status != 204 => content_length(length, out),
        // RFC 9110 section 8.6: no Content-Length in a 204; a 304 or HEAD need not have one.
        BodyLength::Empty if form.has_body => content_length(0, out),
        BodyLength::Unknown if form.has_body && form.is_http10 => framing = Framing::UntilClose,
        BodyLength::Unknown if form.has_body => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            framing = Framing::Chunked;
        }
        _ => {}
    }
    if !form.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    } else if form.is_http10 {
        out.extend_from_slice(b"Connection: keep-alive\r\n");
    }
    out.extend_from_slice(b"\r\n");
    framing
}

/// Whether only closing the connection can end this response: an HTTP/1.0 client knows no chunks.
pub fn must_close(head: &ResponseHead, is_http10: bool, has_body: bool) -> bool {
    is_http10 && has_body && head.body == BodyLength::Unknown
}

/// Appends a 1xx response.
pub fn interim(head: &ResponseHead, out: &mut Vec<u8>) {
    status_line(head.status, out);
    head.fields.write_lines(out);
    out.extend_from_slice(b"\r\n");
}

/// Appends one chunk. An empty one would end the body and is not written.
pub fn chunk(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.is_empty() {
        return;
    }
    hex_number(bytes.len(), out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Appends the end of a chunked body.
pub fn last_chunk(trailers: &Fields, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    trailers.write_lines(out);
    out.extend_from_slice(b"\r\n");
}

fn status_line(status: u16, out: &mut Vec<u8>) {
    if status == 200 {
        // Most responses.
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(u64::from(status), out);
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn content_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    decimal(length, out);
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status (RFC 9110 section 15); clients ignore it, people read it.
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn response(status: u16, body: BodyLength, form: ResponseForm) -> String {
        let head = ResponseHead { status, body, ..ResponseHead::default() };
        let mut out = Vec::new();
        let _ = response_head(&head, form, &mut out);
        String::from_utf8(out).unwrap()
    }

    const KEEP: ResponseForm = ResponseForm { is_http10: false, keep_alive: true, has_body: true };

    #[test]
    fn framing_fields_follow_the_body_and_the_connection() {
        let bodyless = ResponseForm { has_body: false, ..KEEP };
        let old = ResponseForm { is_http10: true, keep_alive: false, has_body: true };
        let old_kept = ResponseForm { is_http10: true, ..KEEP };
        for (status, body, form, expected) in [
            (200, BodyLength::Known(12), KEEP, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"),
            (200, BodyLength::Empty, KEEP, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (204, BodyLength::Known(3), bodyless, "HTTP/1.1 204 No Content\r\n\r\n"),
            (304, BodyLength::Empty, bodyless, "HTTP/1.1 304 Not Modified\r\n\r\n"),
            (200, BodyLength::Known(7), bodyless, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
            (
                200,
                BodyLength::Unknown,
                KEEP,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            ),
            (200, BodyLength::Unknown, old, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"),
            (
                299,
                BodyLength::Known(0),
                old_kept,
                "HTTP/1.1 299 \r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n",
            ),
        ] {
            assert_eq!(response(status, body, form), expected);
        }
    }

    #[test]
    fn an_empty_chunk_is_not_the_last_one() {
        assert_eq!(written(|out| chunk(b"", out)), "");
        assert_eq!(written(|out| chunk(b"hello world, 17 b", out)), "11\r\nhello world, 17 b\r\n");
        assert_eq!(written(|out| last_chunk(&Fields::new(), out)), "0\r\n\r\n");
    }
}
