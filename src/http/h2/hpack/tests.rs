//! RFC 7541's own examples (appendix C), what it forbids, and what is written read again.

use super::*;

#[derive(Debug, Default, PartialEq, Eq)]
struct Taken(Vec<(String, String)>);

impl TakeField for Taken {
    fn take(&mut self, name: &[u8], value: &[u8]) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.push((text(name), text(value)));
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

fn decoded(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Broken> {
    let mut taken = Taken::default();
    decoder.decode(block, &mut taken).map(|()| taken.0)
}

fn assert_blocks(table: usize, blocks: &[(&str, &str)]) {
    let mut decoder = Decoder::new(table);
    for (hex, expected) in blocks {
        let fields = decoded(&mut decoder, &bytes(hex)).unwrap();
        let lines: Vec<_> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(lines.join("|"), *expected);
    }
}

const FIRST: &str = ":method=GET|:scheme=http|:path=/|:authority=www.example.com";
const SECOND: &str =
    ":method=GET|:scheme=http|:path=/|:authority=www.example.com|cache-control=no-cache";
const THIRD: &str = ":method=GET|:scheme=https|:path=/index.html|:authority=www.example.com|\
                     custom-key=custom-value";

#[test]
fn requests_of_appendix_c() {
    assert_blocks(
        4096,
        &[
            ("828684410f7777772e6578616d706c652e636f6d", FIRST),
            ("828684be58086e6f2d6361636865", SECOND),
            ("828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565", THIRD),
        ],
    );
    assert_blocks(
        4096,
        &[
            ("828684418cf1e3c2e5f23a6ba0ab90f4ff", FIRST),
            ("828684be5886a8eb10649cbf", SECOND),
            ("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", THIRD),
        ],
    );
}

#[test]
fn responses_of_appendix_c_in_a_small_table() {
    const DATE: &str = "date=Mon, 21 Oct 2013 20:13:21 GMT";
    const PLACE: &str = "location=https://www.example.com";
    let first = format!(":status=302|cache-control=private|{DATE}|{PLACE}");
    let second = format!(":status=307|cache-control=private|{DATE}|{PLACE}");
    let third = format!(
        ":status=200|cache-control=private|date=Mon, 21 Oct 2013 20:13:22 GMT|{PLACE}|\
         content-encoding=gzip|\
         set-cookie=foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
    );
    let plain = [
        "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d
         546e1768747470733a2f2f7777772e6578616d706c652e636f6d",
        "4803333037c1c0bf",
        "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f
         6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b
         2076657273696f6e3d31",
    ];
    let coded = [
        "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c7
         8f0b97c8e9ae82ae43d3",
        "4883640effc1c0bf",
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335
         dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ];
    for blocks in [plain, coded] {
        let expected = [&first, &second, &third];
        let pairs: Vec<_> =
            blocks.into_iter().zip(expected).map(|(hex, text)| (hex, text.as_str())).collect();
        assert_blocks(256, &pairs);
    }
}

#[test]
fn what_the_rfc_forbids_is_refused() {
    for (hex, why) in [
        ("80", "index 0"),
        ("be", "an index behind an empty dynamic table"),
        ("ffffffffff0f", "an integer that is too large"),
        ("ff", "an integer that is cut off"),
        ("000a", "a literal that is longer than the block"),
        ("8220", "a size update that is not at the start"),
        ("3fe21f", "a size update over what was announced"),
        ("00810081ff", "padding of eight bits"),
        ("00018184ffffffff", "the end of a string within a literal"),
        ("00810000", "padding that is not all ones"),
        ("40", "no name"),
    ] {
        assert!(decoded(&mut Decoder::new(4096), &bytes(hex)).is_err(), "{why}");
    }
    assert!(decoded(&mut Decoder::new(4096), &bytes("203fe11f82")).is_ok(), "two size updates");
}

#[test]
fn the_table_keeps_to_its_size_whatever_is_added() {
    let mut decoder = Decoder::new(4096);
    let value = [b'v'; 100];
    for round in 0..1000_u32 {
        let mut block = vec![0x40, 4];
        block.extend_from_slice(format!("{round:04}").as_bytes());
        block.extend_from_slice(&[100]);
        block.extend_from_slice(&value);
        // The newest one, and the oldest of 30 that fit: 4 + 100 + 32 bytes each.
        block.push(0x80 | 62);
        if round >= 29 {
            block.push(0x80 | 91);
        }
        let fields = decoded(&mut decoder, &block).unwrap();
        assert_eq!(fields[0], fields[1]);
        if round >= 29 {
            assert_eq!(fields[2].0, format!("{:04}", round - 29));
        }
        block.push(0x80 | 92);
        assert!(decoded(&mut Decoder::new(4096), &block).is_err());
    }
    assert!(decoder.held_bytes() < 32 * 1024, "{}", decoder.held_bytes());
    // An entry that does not fit empties it.
    let mut block = vec![0x40, 1, b'n', 0x7f, 0x80, 0x3e];
    block.extend_from_slice(&[b'v'; 127 + 0x1f00]);
    assert!(decoded(&mut decoder, &block).is_ok());
    assert!(decoded(&mut decoder, &[0xbe]).is_err());
}

#[test]
fn a_name_is_taken_from_the_entry_that_goes_for_it() {
    let mut decoder = Decoder::new(64);
    let block = bytes("400a637573746f6d2d6b65790161 7e0162 be");
    let fields = decoded(&mut decoder, &block).unwrap();
    assert_eq!(fields[2], ("custom-key".to_owned(), "b".to_owned()));
}

#[test]
fn what_is_written_is_read_again() {
    let mut block = Vec::new();
    write_no_table(&mut block);
    write_indexed(2, &mut block);
    write_named(8, b"418", &mut block);
    for (name, value) in [
        ("Content-Type", "text/plain"),
        ("X-Custom", ""),
        ("Authorization", "secret"),
        ("WWW-Authenticate", "Basic"),
        ("via", &"v".repeat(5000)),
    ] {
        write_field(name.as_bytes(), value.as_bytes(), &mut block);
    }
    let fields = decoded(&mut Decoder::new(0), &block).unwrap();
    let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        ":method",
        ":status",
        "content-type",
        "x-custom",
        "authorization",
        "www-authenticate",
        "via",
    ];
    assert_eq!(names, expected);
    assert_eq!(fields[1].1, "418");
    assert_eq!(fields[6].1.len(), 5000);
}

#[test]
fn every_name_of_the_static_table_is_found_and_no_other() {
    for (index, (name, _)) in STATIC.iter().enumerate().skip(14) {
        let upper = name.to_ascii_uppercase();
        let (known, _) = STATIC[usize::from(statics::find(&upper).unwrap()) - 1];
        assert_eq!(known, *name, "{index}");
    }
    for name in [&b""[..], b"x", b":status", b"cookies", b"x-frame-options"] {
        assert_eq!(statics::find(name), None);
    }
}
