//! What servers send, and what only a broken or hostile one does.

use super::*;

/// All replies of a stream that comes in pieces of the given sizes, repeated.
fn read(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Reply>, ProtocolError> {
    let mut replies = Replies::default();
    let mut got = Vec::new();
    let mut rest = bytes;
    for piece in pieces.iter().cycle() {
        let (now, later) = rest.split_at((*piece).min(rest.len()));
        replies.push(now);
        while let Some(reply) = replies.next_reply()? {
            got.push(reply);
        }
        rest = later;
        if rest.is_empty() {
            return Ok(got);
        }
    }
    unreachable!("pieces is not empty")
}

fn typical() -> (Vec<u8>, Vec<Reply>) {
    let mut bytes = b"+OK\r\n-ERR no\r\n:42\r\n:-9223372036854775808\r\n$-1\r\n$0\r\n\r\n".to_vec();
    bytes.extend_from_slice(b"$8\r\n\r\n$-1\r\n\x00\r\n");
    let replies = vec![
        Reply::Status(b"OK".to_vec()),
        Reply::Error("ERR no".to_owned()),
        Reply::Integer(42),
        Reply::Integer(i64::MIN),
        Reply::Nil,
        Reply::Bulk(Vec::new()),
        Reply::Bulk(b"\r\n$-1\r\n\x00".to_vec()),
    ];
    (bytes, replies)
}

#[test]
fn replies_split_at_every_byte_are_the_same() {
    let (bytes, replies) = typical();
    assert_eq!(read(&bytes, &[bytes.len()]), Ok(replies.clone()));
    for piece in 1..bytes.len() {
        assert_eq!(read(&bytes, &[piece]), Ok(replies.clone()), "pieces of {piece}");
        assert_eq!(read(&bytes, &[piece, bytes.len()]), Ok(replies.clone()), "split at {piece}");
    }
}

#[test]
fn incomplete_reply_is_neither_a_reply_nor_an_error() {
    let (bytes, replies) = typical();
    for end in 0..bytes.len() {
        let got = read(&bytes[..end], &[end.max(1)]).unwrap();
        assert_eq!(got, replies[..got.len()], "cut at {end}");
        assert!(got.len() < replies.len());
    }
}

type Case = (&'static str, Vec<u8>, ProtocolError);

fn assert_errors(cases: Vec<Case>) {
    for (name, bytes, error) in cases {
        for piece in [1, 3, bytes.len()] {
            let got = read(&bytes, &[piece]);
            assert_eq!(got, Err(error), "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn kind_that_no_command_of_ours_is_answered_with_is_an_error() {
    let case = |name, bytes: &[u8]| (name, bytes.to_vec(), ProtocolError::Kind(bytes[0]));
    assert_errors(vec![
        case("http", b"HTTP/1.1 400 Bad Request\r\n"),
        case("array", b"*1\r\n:1\r\n"),
        case("deep array", &b"*1\r\n".repeat(100_000)),
        case("resp3 null", b"_\r\n"),
        case("bare line end", b"\r\n"),
    ]);
}

#[test]
fn malformed_numbers_and_values_are_errors() {
    let case = |name, bytes: &[u8]| (name, bytes.to_vec(), ProtocolError::Malformed);
    assert_errors(vec![
        case("number", b":12a\r\n"),
        case("empty number", b":\r\n"),
        case("wide number", b":9223372036854775808\r\n"),
        case("no length", b"$\r\n"),
        case("negative length", b"$-2\r\n"),
        case("length in hex", b"$0x10\r\n"),
        case("length not utf-8", b"$\xff\r\n"),
        case("length of 65 bits", b"$18446744073709551616\r\n"),
        case("value goes on", b"$2\r\nabc\r\n"),
        case("value ends early", b"$4\r\nab\r\n:1\r\n"),
    ]);
}

#[test]
fn what_would_take_memory_without_end_is_an_error() {
    let line = limits::KV_REDIS_LINE_BYTES_MAX;
    let huge = |length| format!("${length}\r\n").into_bytes();
    let over = limits::KV_VALUE_BYTES_MAX as u64 + 1;
    assert_errors(vec![
        ("endless status", vec![b'+'; line], ProtocolError::Line),
        ("endless error", vec![b'-'; line], ProtocolError::Line),
        ("endless number", b":1".repeat(30), ProtocolError::Line),
        ("endless length", b"$1".repeat(30), ProtocolError::Line),
        ("one over", huge(over), ProtocolError::Length(over)),
        ("largest", huge(u64::MAX), ProtocolError::Length(u64::MAX)),
    ]);
}

#[test]
fn largest_value_passes_and_its_memory_is_given_back() {
    let value = vec![b'x'; limits::KV_VALUE_BYTES_MAX];
    let mut bytes = format!("${}\r\n", value.len()).into_bytes();
    bytes.extend_from_slice(&value);
    bytes.extend_from_slice(b"\r\n");
    let mut replies = Replies::default();
    replies.push(&bytes);
    assert_eq!(replies.next_reply(), Ok(Some(Reply::Bulk(value))));
    replies.push(b"+OK\r\n");
    assert!(replies.buffer.capacity() <= limits::BUFFER_BYTES);
    assert_eq!(replies.next_reply(), Ok(Some(Reply::Status(b"OK".to_vec()))));
    assert!(replies.is_empty());
}

#[test]
fn error_bytes_that_are_not_utf8_are_replaced() {
    assert_eq!(read(b"-ERR \xff\r\n", &[9]), Ok(vec![Reply::Error("ERR \u{fffd}".to_owned())]));
}

/// What the fuzz target `resp_reply` does, on 40,000 inputs made of what replies are made of.
#[test]
fn garbage_never_panics_and_pieces_never_matter() {
    let parts: [&[u8]; 16] = [
        b"+",
        b"-",
        b":",
        b"$",
        b"*",
        b"\r\n",
        b"\r",
        b"\n",
        b"0",
        b"1",
        b"-1",
        b"12",
        b"OK",
        b"$3\r\nabc\r\n",
        b":7\r\n",
        b"\xff\x00",
    ];
    for seed in 1..=40_000_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut bytes = Vec::new();
        for _ in 0..1 + random % 20 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes.extend_from_slice(parts[(random >> 32) as usize % parts.len()]);
        }
        let whole = read(&bytes, &[bytes.len()]);
        for piece in [1, 2, 5] {
            assert_eq!(read(&bytes, &[piece]), whole, "seed {seed}: {:?}", bytes.escape_ascii());
        }
    }
}

#[test]
fn command_is_an_array_of_bulk_strings() {
    let mut out = Vec::new();
    let mut command = Command::new(&mut out, 5);
    command.arg(b"SET").joined(b"odin:p:", b"k\r\n").arg(b"").arg(b"PX").number(1500);
    drop(command);
    let expected =
        b"*5\r\n$3\r\nSET\r\n$10\r\nodin:p:k\r\n\r\n$0\r\n\r\n$2\r\nPX\r\n$4\r\n1500\r\n";
    assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
}
