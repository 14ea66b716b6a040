//! Every coding there and back, what is damaged, and what would cost too much.

use std::io::Write as _;
use std::rc::Rc;

use super::*;
use crate::io::budget::Budget;
use crate::io::runtime;

const MOST: usize = 1024 * 1024;

/// The text of the samples.
fn text() -> Vec<u8> {
    "Odin reads what it guards. ".repeat(40).into_bytes()
}

/// Made by Node's zlib.
const BROTLI: &str = "1b3704f89d07768ce06cdd176e4c503f95d1d5c9b433b906217399db61646e724a97024b\
    85822459dcb7ebd2dc07";
/// 64 MiB of zeros.
const BROTLI_BOMB: &str = "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c302\
    00ddfb3ffeffffc13f0110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04\
    401c1600e8defff1ffff0ffe0980382c00d0bdffcbffff3ffc1300715800a07bff07";

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zlib(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn bare(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

fn zstd(plain: &[u8]) -> Vec<u8> {
    let mut coded = vec![0; zstd_safe::compress_bound(plain.len())];
    let size = zstd_safe::compress(&mut coded[..], plain, 3).unwrap();
    coded.truncate(size);
    coded
}

/// Each coding with the sample.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("gzip", gzip(&text())),
        ("deflate", zlib(&text())),
        ("deflate", bare(&text())),
        ("br", bytes(BROTLI)),
        ("zstd", zstd(&text())),
    ]
}

fn of(value: &str) -> Result<Option<Codings>, Unknown> {
    let mut fields = Fields::new();
    fields.push(b"Content-Encoding", value.as_bytes());
    Codings::of(&fields)
}

fn undone_within(
    value: &str,
    coded: &[u8],
    bytes_max: usize,
    held: &Held,
) -> Result<Vec<u8>, Failure> {
    let codings = of(value).unwrap().unwrap();
    runtime::local().unwrap().block_on(codings.undo(coded, bytes_max, held))
}

fn undone(value: &str, coded: &[u8]) -> Result<Vec<u8>, Failure> {
    undone_within(value, coded, MOST, &Held::default())
}

#[test]
fn content_encoding_is_a_list_of_what_was_applied_one_after_the_other() {
    let list = |value: &str| of(value).map(|codings| codings.map(|c| c.list[..c.count].to_vec()));
    assert_eq!(list("identity, ,"), Ok(None));
    assert_eq!(list("GZIP"), Ok(Some(vec![Coding::Gzip])));
    assert_eq!(list("x-gzip\t,identity, ,Br"), Ok(Some(vec![Coding::Gzip, Coding::Brotli])));
    for unknown in ["compress", "gzip;q=1", "gzip br", "gzip, br, zstd", "aes128gcm"] {
        assert_eq!(list(unknown), Err(Unknown), "{unknown}");
    }
    let mut fields = Fields::new();
    fields.push(b"content-encoding", b"identity");
    fields.push(b"CONTENT-ENCODING", b"compress");
    assert_eq!(Codings::of(&fields), Err(Unknown), "no field hides behind another");
}

#[test]
fn what_was_coded_is_what_comes_out() {
    for (coding, coded) in samples() {
        assert_eq!(undone(coding, &coded), Ok(text()), "{coding}");
        assert_eq!(undone(coding, &[]), Ok(Vec::new()), "{coding}: of nothing");
    }
    let large: Vec<u8> = (0..900_000_u32).flat_map(|n| (n / 7).to_le_bytes()).take(MOST).collect();
    for (coding, coded) in
        [("gzip", gzip(&large)), ("zstd", zstd(&large)), ("deflate", bare(&large))]
    {
        assert!(undone(coding, &coded) == Ok(large.clone()), "{coding}");
    }
}

#[test]
fn members_frames_and_codings_of_codings_are_followed() {
    let [one, two] = [b"one, ", b"two. "].map(|part| part.to_vec());
    for code in [gzip, zstd] {
        let name = if code(&one)[0] == 0x1f { "gzip" } else { "zstd" };
        let both = [code(&one), code(&[]), code(&two)].concat();
        assert_eq!(undone(name, &both), Ok(b"one, two. ".to_vec()), "{name}");
    }
    assert_eq!(undone("gzip, zstd", &zstd(&gzip(&text()))), Ok(text()));
    assert_eq!(undone("zstd, gzip", &zstd(&gzip(&text()))), Err(Failure::Malformed));
    // Name, comment, extra field and the header's own sum.
    let plain = gzip(&one);
    let header = [&plain[..3], &[2 | 4 | 8 | 16], &plain[4..10], b"\x02\0ab", b"n\0c\0", b"\0\0"];
    assert_eq!(undone("gzip", &[&header.concat(), &plain[10..]].concat()), Ok(one));
}

#[test]
fn what_is_cut_or_damaged_or_has_something_behind_it_is_refused() {
    for (coding, coded) in samples() {
        for length in 1..coded.len() {
            let cut = undone(coding, &coded[..length]);
            assert_eq!(cut, Err(Failure::Malformed), "{coding}, {length} bytes of it");
        }
        for behind in [&b"\0"[..], b"more", &[0xff; 100]] {
            let more = [&coded, behind].concat();
            assert_eq!(undone(coding, &more), Err(Failure::Malformed), "{coding}, {behind:?}");
        }
    }
    for coding in ["gzip", "deflate", "br", "zstd"] {
        assert!(undone(coding, br#"{"password":"plain"}"#).is_err(), "{coding} of plain text");
    }
    let mut wrong = gzip(&text());
    let sum = wrong.len() - 8;
    wrong[sum] ^= 1;
    assert_eq!(undone("gzip", &wrong), Err(Failure::Malformed), "its sum is checked");
}

#[test]
fn no_bytes_bring_a_decoder_down_or_make_more_than_the_limit() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    for (coding, coded) in samples().into_iter().chain([("br", bytes(BROTLI_BOMB))]) {
        for round in 0..400 {
            let mut bytes = coded.clone();
            for _ in 0..1 + random() % 4 {
                let at = random() % bytes.len();
                match random() % 3 {
                    0 => bytes[at] ^= 1 << (random() % 8),
                    1 => bytes[at] = random() as u8,
                    _ => drop(bytes.splice(at..at, [random() as u8, random() as u8])),
                }
            }
            if let Ok(plain) = undone_within(coding, &bytes, 10_000, &Held::default()) {
                assert!(plain.len() <= 10_000, "{coding}, round {round}");
            }
        }
    }
}

#[test]
fn a_bomb_ends_at_the_limit_whatever_it_would_become() {
    let zeros = vec![0; 32 * MOST];
    let bombs = [
        ("gzip", gzip(&zeros)),
        ("deflate", bare(&zeros)),
        ("br", bytes(BROTLI_BOMB)),
        ("zstd", zstd(&zeros)),
        ("gzip, gzip", gzip(&gzip(&zeros))),
    ];
    for (coding, bomb) in bombs {
        let budget = Rc::new(Budget::default());
        // For the plain bytes, the vector that grows, and the decoder.
        budget.bound(8 * MOST);
        let held = Held::of(&budget);
        assert_eq!(undone_within(coding, &bomb, MOST, &held), Err(Failure::TooLarge), "{coding}");
        // As large a limit as one likes: it is out of proportion.
        let result = undone_within(coding, &bomb, 64 * MOST, &Held::default());
        assert_eq!(result, Err(Failure::TooLarge), "{coding}");
    }
}

#[test]
fn its_memory_is_asked_for_and_given_back() {
    let budget = Rc::new(Budget::default());
    for (coding, coded) in samples() {
        budget.bound(1000);
        let refused = undone_within(coding, &coded, MOST, &Held::of(&budget));
        assert_eq!(refused, Err(Failure::NoRoom(Error::OverBudget)), "{coding}");
        assert_eq!(budget.used(), 0, "{coding}");
        budget.bound(64 * MOST);
        let held = Held::of(&budget);
        let plain = undone_within(coding, &coded, MOST, &held).unwrap();
        assert_eq!(budget.used(), plain.capacity(), "{coding}: the plain bytes alone");
        drop(held);
        assert_eq!(budget.used(), 0, "{coding}");
    }
}

#[test]
fn the_fields_of_plain_bytes_say_nothing_of_the_coded_ones() {
    let mut fields = Fields::new();
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("Vary", "Accept-Encoding"),
        ("etag", "\"abc\""),
        ("Content-MD5", "x"),
        ("Repr-Digest", "x"),
        ("Accept-Ranges", "bytes"),
    ] {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    describe_plain(&mut fields);
    let mut lines = Vec::new();
    fields.write_lines(&mut lines);
    let lines = String::from_utf8(lines).unwrap().to_lowercase();
    assert_eq!(lines, "vary: accept-encoding\r\netag: w/\"abc\"\r\n");
    describe_plain(&mut fields);
    assert_eq!(fields.get("etag"), Some(&b"W/\"abc\""[..]));
}
