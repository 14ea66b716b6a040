//! Bodies: the cuts of the stream don't matter, and what is written in chunks is read again.
//!
//! The first byte gives the size of the pieces, the second the framing, the rest is the stream.

use odin::http::h1::body::BodyDecoder;
use odin::http::h1::encode;
use odin::http::message::{BodyLength, is_field_value, is_token};

#[derive(Debug, PartialEq, Eq)]
struct Read {
    data: Vec<u8>,
    consumed: usize,
    is_done: bool,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

fn read(stream: &[u8], piece: usize, length: BodyLength, is_chunked: bool) -> Result<Read, ()> {
    let mut decoder = BodyDecoder::default();
    decoder.begin(length, is_chunked);
    let (mut data, mut consumed) = (Vec::new(), 0);
    for piece in stream.chunks(piece) {
        let mut piece = piece.to_vec();
        let decoded = decoder.decode(&mut piece).map_err(drop)?;
        assert!(decoded.data <= decoded.consumed && decoded.consumed <= piece.len());
        data.extend_from_slice(&piece[..decoded.data]);
        consumed += decoded.consumed;
        if decoder.is_done() {
            break;
        }
        assert_eq!(decoded.consumed, piece.len(), "what is left of a piece is the next message's");
    }
    let trailers = decoder.trailers().iter();
    let trailers = trailers.map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    Ok(Read { data, consumed, is_done: decoder.is_done(), trailers })
}

/// One input.
pub fn run(input: &[u8]) {
    let [piece, framing, stream @ ..] = input else {
        return;
    };
    let (length, is_chunked) = match framing % 4 {
        0 => (BodyLength::Known(u64::from(*framing)), false),
        1 => (BodyLength::Unknown, false),
        _ => (BodyLength::Unknown, true),
    };
    let whole = read(stream, stream.len().max(1), length, is_chunked);
    assert_eq!(read(stream, usize::from(*piece) + 1, length, is_chunked), whole);
    assert_eq!(read(stream, 1, length, is_chunked), whole);
    if let Ok(whole) = &whole {
        for (name, value) in &whole.trailers {
            assert!(is_token(name) && is_field_value(value), "{name:?}: {value:?}");
        }
    }

    let mut written = Vec::new();
    for piece in stream.chunks(usize::from(*piece) + 1) {
        encode::chunk(piece, &mut written);
    }
    encode::last_chunk(&odin::http::message::Fields::new(), &mut written);
    let again = read(&written, usize::from(*piece) + 1, BodyLength::Unknown, true);
    let again = again.expect("what we write can be read");
    assert!(again.is_done && again.data == stream && again.consumed == written.len());
}
