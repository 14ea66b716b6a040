//! What is made for whom, and what stays as it is.

use super::*;

fn policy() -> Compression {
    let types = ["text/*", "application/json", "application/*+json"];
    Compression {
        codings: vec![Coding::Zstd, Coding::Brotli, Coding::Gzip],
        types: types.iter().map(|text| MediaType::parse(text).unwrap()).collect(),
        bytes_min: 100,
    }
}

fn fields(list: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    list.iter().for_each(|(name, value)| fields.push(name.as_bytes(), value.as_bytes()));
    fields
}

fn response(list: &[(&str, &str)], body: BodyLength) -> ResponseHead {
    ResponseHead { status: 200, fields: fields(list), body, upgrade: None }
}

const GZIP: Accepted = Accepted { coding: Some(Coding::Gzip), refuses_plain: false };

#[test]
fn a_client_gets_what_it_likes_best_and_the_service_prefers() {
    use Coding::{Brotli, Gzip, Zstd};
    for (accept, coding, refuses_plain) in [
        ("gzip, deflate, br, zstd", Some(Zstd), false),
        ("gzip, br", Some(Brotli), false),
        ("GZIP", Some(Gzip), false),
        ("x-gzip", Some(Gzip), false),
        ("gzip;q=1.0, br;q=0.5", Some(Gzip), false),
        ("gzip;q=0.001", Some(Gzip), false),
        ("gzip;q=0", None, false),
        ("gzip;q=0.000, *", Some(Zstd), false),
        ("*", Some(Zstd), false),
        ("*;q=0", None, true),
        ("*;q=0, gzip", Some(Gzip), true),
        ("identity;q=0", None, true),
        ("identity;q=0, gzip;q=0.1", Some(Gzip), true),
        ("identity;q=1, gzip;q=0.5", None, false),
        ("identity;q=0.5, gzip;q=0.5", Some(Gzip), false),
        ("identity", None, false),
        ("", None, false),
        ("deflate, compress", None, false),
        ("gzip;q=nonsense", None, false),
        ("gzip;q=1.001", None, false),
        ("gzip;q=0.1234", None, false),
        ("gzip ; Q=0.5 , ,, zstd;level=3;q=0.4", Some(Gzip), false),
        ("zstd;q=0,br;q=0,*;q=0.2", Some(Gzip), false),
    ] {
        let accepted = policy().accepted(&fields(&[("Accept-Encoding", accept)]));
        assert_eq!(accepted, Accepted { coding, refuses_plain }, "{accept}");
    }
    assert_eq!(policy().accepted(&Fields::new()), Accepted::default());
    let twice = fields(&[("Accept-Encoding", "br;q=0"), ("Accept-Encoding", "gzip")]);
    assert_eq!(policy().accepted(&twice), GZIP);
    let held = fields(&[("Accept-Encoding", "gzip"), ("Cache-Control", "no-cache, No-Transform")]);
    assert_eq!(policy().accepted(&held), Accepted::default());
}

#[test]
fn what_is_coded_is_told_of_in_the_head() {
    let given = [
        ("Content-Type", "Text/HTML; charset=utf-8"),
        ("ETag", "\"abc\""),
        ("Accept-Ranges", "bytes"),
        ("Content-Digest", "sha-256=:x:"),
        ("Vary", "Origin"),
    ];
    let mut head = response(&given, BodyLength::Known(100));
    assert_eq!(policy().coding_for(GZIP, &mut head, true), Some(Coding::Gzip));
    describe_coded(&mut head, Coding::Gzip);
    assert_eq!(head.body, BodyLength::Unknown);
    assert_eq!(head.fields.get("content-encoding"), Some(&b"gzip"[..]));
    assert_eq!(head.fields.get("etag"), Some(&b"W/\"abc\""[..]));
    assert!(!head.fields.contains("accept-ranges") && !head.fields.contains("content-digest"));
    let vary: Vec<_> = head.fields.get_all("vary").collect();
    assert_eq!(vary, [&b"Origin"[..], b"Accept-Encoding"]);
    // Who takes no coding learns that others may, and a head alone stays that of the plain body.
    for (accepted, is_sent) in [(Accepted::default(), true), (GZIP, false)] {
        let mut head = response(&given, BodyLength::Known(100));
        assert_eq!(policy().coding_for(accepted, &mut head, is_sent), None);
        assert_eq!(head.body, BodyLength::Known(100));
        assert_eq!(head.fields.get("etag"), Some(&b"\"abc\""[..]));
        assert!(head.fields.get_all("vary").any(|value| value == b"Accept-Encoding"));
    }
}

#[test]
fn what_is_not_worth_it_or_must_not_be_changed_stays() {
    let json = ("Content-Type", "application/vnd.api+json");
    let long = BodyLength::Known(100_000);
    for (list, body, is_coded) in [
        (&[json][..], long, true),
        (&[json], BodyLength::Unknown, true),
        (&[json], BodyLength::Known(99), false),
        (&[json], BodyLength::Empty, false),
        (&[("Content-Type", "image/png")], long, false),
        (&[("Content-Type", "text")], long, false),
        (&[("Content-Type", "")], long, false),
        (&[], long, false),
        (&[json, ("Content-Encoding", "br")], long, false),
        (&[json, ("Content-Encoding", "unheard-of")], long, false),
        (&[json, ("Content-Encoding", "identity")], long, true),
        (&[json, ("Cache-Control", "private,no-transform")], long, false),
        (&[json, ("Content-Range", "bytes 0-1/2")], long, false),
        (&[json, ("Vary", "*")], long, true),
    ] {
        let mut head = response(list, body);
        assert_eq!(policy().coding_for(GZIP, &mut head, true).is_some(), is_coded, "{list:?}");
    }
    for status in [204, 206, 304] {
        let mut head = ResponseHead { status, ..response(&[json], long) };
        assert_eq!(policy().coding_for(GZIP, &mut head, true), None, "{status}");
        assert!(!head.fields.contains("vary"));
    }
}

#[test]
fn who_refuses_plain_bodies_gets_coded_ones_whatever_they_are() {
    let accepted = Accepted { refuses_plain: true, ..GZIP };
    let png = [("Content-Type", "image/png")];
    let coded = |list: &[(&str, &str)], body| {
        policy().coding_for(accepted, &mut response(list, body), true).is_some()
    };
    assert!(coded(&png, BodyLength::Known(5)));
    assert!(!coded(&png, BodyLength::Known(0)));
    assert!(!coded(&[("Cache-Control", "no-transform")], BodyLength::Known(5)));
}

#[test]
fn media_types_are_read_and_shown() {
    for text in ["text/html", "text/*", "application/*+json", "application/vnd.a-b+json"] {
        assert_eq!(MediaType::parse(text).unwrap().show(), text);
    }
    for bad in ["text", "*/*", "*", "text/", "/html", "text/ht*ml", "te*t/html", "text/html; a=b"] {
        assert_eq!(MediaType::parse(bad), None, "{bad}");
    }
}
