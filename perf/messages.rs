//! The messages that are sent, parsed and written everywhere here: of a size as browsers and
//! services send them.

/// A GET of a browser with a session: 11 fields, some 540 bytes.
pub const REQUEST: &[u8] = b"GET /api/users?limit=10 HTTP/1.1\r\n\
    Host: gateway.example\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Accept: application/json, text/plain, */*\r\n\
    Accept-Language: en-GB,en;q=0.9\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Referer: https://gateway.example/dashboard\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n\
    Authorization: Bearer 0123456789abcdef0123456789abcdef0123456789abcdef\r\n\
    Cache-Control: no-cache\r\n\
    X-Requested-With: XMLHttpRequest\r\n\
    Connection: keep-alive\r\n\r\n";

/// The answer of a service to it.
pub const RESPONSE_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Date: Mon, 01 Jan 2024 00:00:00 GMT\r\n\
    Content-Type: application/json; charset=utf-8\r\n\
    Cache-Control: private, max-age=0\r\n\
    ETag: \"0123456789abcdef\"\r\n\
    Vary: Accept-Encoding\r\n\
    Content-Length: 128\r\n\r\n";

/// A JSON document of about so many bytes: records, with the quotes that have to be escaped.
pub fn json(bytes: usize) -> Vec<u8> {
    let record = br#"{"id":1234,"name":"Ann Example","email":"ann@example.org","tags":["a","b"]},"#;
    let mut out = b"[".to_vec();
    while out.len() < bytes {
        out.extend_from_slice(record);
    }
    out.pop();
    out.push(b']');
    out
}
