//! Bodies, whole and split at every byte.

use super::*;

struct Outcome {
    data: Vec<u8>,
    rest: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Decodes `pieces` one after the other; what is left of the last one is the rest.
fn run(length: BodyLength, chunked: bool, pieces: &[&[u8]]) -> Result<Outcome, Malformed> {
    let mut decoder = BodyDecoder::default();
    decoder.begin(length, chunked);
    let mut outcome = Outcome { data: Vec::new(), rest: Vec::new(), trailers: Vec::new() };
    for piece in pieces {
        let mut piece = piece.to_vec();
        let decoded = decoder.decode(&mut piece)?;
        outcome.data.extend_from_slice(&piece[..decoded.data]);
        outcome.rest.extend_from_slice(&piece[decoded.consumed..]);
    }
    if !decoder.is_done() {
        return Err("incomplete");
    }
    let owned = |(name, value): (&[u8], &[u8])| (name.to_vec(), value.to_vec());
    outcome.trailers = decoder.trailers().iter().map(owned).collect();
    Ok(outcome)
}

const CHUNKED: &[u8] =
    b"5;a=\"v\"\r\nhello\r\nA\r\n, chunked \r\n1\r\n!\r\n0\r\nX-Sum: 1\r\nHost: x\r\n\r\nGET /";

#[test]
fn a_chunked_body_split_at_every_byte_equals_the_whole() {
    for split in 0..=CHUNKED.len() {
        let (head, tail) = CHUNKED.split_at(split);
        let outcome = run(BodyLength::Unknown, true, &[head, tail]).unwrap();
        assert_eq!(outcome.data, b"hello, chunked !", "split at {split}");
        assert_eq!(outcome.rest, b"GET /", "split at {split}");
        assert_eq!(outcome.trailers, [(b"X-Sum".to_vec(), b"1".to_vec())], "split at {split}");
    }
    let bytes: Vec<&[u8]> = CHUNKED.chunks(1).collect();
    assert_eq!(run(BodyLength::Unknown, true, &bytes).unwrap().data, b"hello, chunked !");
}

#[test]
fn a_body_of_known_length_ends_there() {
    let outcome = run(BodyLength::Known(3), false, &[b"ab", b"cGET"]).unwrap();
    assert_eq!((outcome.data, outcome.rest), (b"abc".to_vec(), b"GET".to_vec()));
}

#[test]
fn only_a_close_delimited_body_may_end_with_its_connection() {
    for (length, chunked, proper) in [
        (BodyLength::Unknown, false, true),
        (BodyLength::Unknown, true, false),
        (BodyLength::Known(2), false, false),
        (BodyLength::Empty, false, true),
    ] {
        let mut decoder = BodyDecoder::default();
        decoder.begin(length, chunked);
        assert_eq!(decoder.finish_at_close(), proper, "{length:?} chunked: {chunked}");
    }
}

#[test]
fn white_space_before_an_extension_and_zeros_before_a_size_are_read() {
    let zeros = [&[b'0'; CHUNK_LINE_BYTES_MAX - 3], &b"5\r\nhello\r\n0\r\n\r\n"[..]].concat();
    let cases: &[&[u8]] = &[
        b"5 ;a=b\r\nhello\r\n0\r\n\r\n",
        b"5\t \t;a=b\r\nhello\r\n0 ;a\r\n\r\n",
        b"5;a = b ; c\r\nhello\r\n0\r\n\r\n",
        b"00000000000000005\r\nhello\r\n00000000000000000\r\n\r\n",
        &zeros,
    ];
    for bytes in cases {
        let outcome = run(BodyLength::Unknown, true, &[bytes]);
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(outcome.unwrap_or_else(|why| panic!("{text:?}: {why}")).data, b"hello");
    }
}

#[test]
fn malformed_chunks_are_refused() {
    let cases: &[(&str, &[u8])] = &[
        ("prefix 0x", b"0x5\r\nhello\r\n"),
        ("sign", b"+5\r\nhello\r\n"),
        ("leading space", b" 5\r\nhello\r\n"),
        ("trailing space", b"5 \r\nhello\r\n"),
        ("space within the size", b"1 0\r\nhello, 16 bytes!\r\n"),
        ("space, then a bare LF", b"5 \nhello\r\n"),
        ("space and nothing else", b" ;a\r\nhello\r\n"),
        ("line end in white space", b"5 \r\n ;a\r\nhello\r\n"),
        ("delete in the extension", b"5;\x7f\r\nhello\r\n"),
        ("no digits", b"\r\nhello\r\n"),
        ("extension only", b";a=b\r\n"),
        ("over 60 bits", b"1000000000000000\r\n"),
        ("over 60 bits behind zeros", b"0001000000000000000\r\n"),
        ("overflow", b"FFFFFFFFFFFFFFFFF\r\n"),
        ("bare LF after the size", b"5\nhello\r\n"),
        ("bare CR in the extension", b"5;a\rb\r\nhello\r\n"),
        ("no CR LF after the data", b"5\r\nhelloX\r\n"),
        ("bare LF after the data", b"5\r\nhello\n0\r\n\r\n"),
        ("extra byte after the last chunk", b"0\r\nX\r\n\r\n"),
        ("bare LF in trailers", b"0\r\nA: b\n\r\n"),
        ("space before the colon of a trailer", b"0\r\nA : b\r\n\r\n"),
        ("NUL in a trailer", b"0\r\nA: \0\r\n\r\n"),
    ];
    for (name, bytes) in cases {
        assert!(run(BodyLength::Unknown, true, &[bytes]).is_err(), "{name}");
    }
}

#[test]
fn endless_extensions_and_trailers_hit_their_limits() {
    let extension = [b"5;".as_slice(), &[b'a'; CHUNK_LINE_BYTES_MAX]].concat();
    assert_eq!(
        run(BodyLength::Unknown, true, &[&extension]).err(),
        Some("chunk size line is too long")
    );
    let trailer = [b"0\r\nA: ".as_slice(), &[b'a'; TRAILER_BYTES_MAX]].concat();
    assert_eq!(run(BodyLength::Unknown, true, &[&trailer]).err(), Some("trailers are too large"));
}
