//! What was encoded is what comes out again, at each flush and at the end.

use std::io::Read as _;

use super::*;

const CODINGS: [Coding; 3] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

/// Encodes to the end of what is asked.
fn encode(encoder: &mut Encoder, mut input: &[u8], until: Until, out: &mut Vec<u8>) {
    for _ in 0..10_000 {
        let before = out.len();
        let is_done = encoder.step(&mut input, until, out).unwrap();
        assert!(out.len() - before <= ENCODE_OUTPUT_BYTES);
        if is_done {
            assert!(input.is_empty());
            return;
        }
    }
    panic!("it does not come to an end");
}

/// As much as can be decoded of what may not have ended.
fn decode(coding: Coding, coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut piece = [0; 4096];
    let mut read: Box<dyn std::io::Read> = match coding {
        Coding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(coded)),
        Coding::Brotli => Box::new(brotli_decompressor::Decompressor::new(coded, 4096)),
        Coding::Zstd | Coding::Deflate => {
            let mut context = zstd_safe::DCtx::create();
            let mut source = InBuffer::around(coded);
            let mut is_full = true;
            while source.pos() < coded.len() || is_full {
                let mut sink = OutBuffer::around(&mut piece[..]);
                context.decompress_stream(&mut sink, &mut source).unwrap();
                plain.extend_from_slice(sink.as_slice());
                is_full = sink.pos() == 4096;
            }
            return plain;
        }
    };
    while let Ok(count @ 1..) = read.read(&mut piece) {
        plain.extend_from_slice(&piece[..count]);
    }
    plain
}

/// Something that repeats itself now and then.
fn text(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut text = Vec::new();
    while text.len() < length {
        match next() % 4 {
            0 => text.extend_from_slice(&next().to_le_bytes()),
            _ => text.extend_from_slice(b"a line of a log, as they are. "),
        }
    }
    text.truncate(length);
    text
}

#[test]
fn each_coding_comes_back_whole_whatever_pieces_it_was_given_in() {
    for coding in CODINGS {
        for (length, piece) in [(0, 1), (1, 1), (1_000, 7), (300_000, 8_192), (300_000, 100_000)] {
            let plain = text(length, length as u64 + piece as u64);
            let mut encoder = Encoder::new(coding).unwrap();
            let mut coded = Vec::new();
            for piece in plain.chunks(piece) {
                encode(&mut encoder, piece, Until::More, &mut coded);
            }
            encode(&mut encoder, &[], Until::End, &mut coded);
            assert_eq!(decode(coding, &coded), plain, "{coding:?} {length} {piece}");
            assert!(length < 10_000 || coded.len() < length / 2, "{coding:?} {}", coded.len());
        }
    }
}

#[test]
fn what_was_flushed_can_be_read_before_more_comes() {
    for coding in CODINGS {
        let mut encoder = Encoder::new(coding).unwrap();
        let (mut coded, mut plain) = (Vec::new(), Vec::new());
        for number in 0..20u64 {
            let event = text(1 + number as usize * 37, number);
            plain.extend_from_slice(&event);
            encode(&mut encoder, &event, Until::More, &mut coded);
            encode(&mut encoder, &[], Until::Flush, &mut coded);
            assert_eq!(decode(coding, &coded), plain, "{coding:?} {number}");
        }
        encode(&mut encoder, &[], Until::End, &mut coded);
        assert_eq!(decode(coding, &coded), plain, "{coding:?}");
    }
}

#[test]
fn what_cannot_be_compressed_comes_out_all_the_same() {
    let mut noise = vec![0; 200_000];
    let mut state = 88_172_645_463_325_252u64;
    for byte in &mut noise {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state as u8;
    }
    for coding in CODINGS {
        let mut encoder = Encoder::new(coding).unwrap();
        let mut coded = Vec::new();
        encode(&mut encoder, &noise, Until::Flush, &mut coded);
        encode(&mut encoder, &[], Until::End, &mut coded);
        assert_eq!(decode(coding, &coded), noise, "{coding:?}");
    }
}
