//! Trace Context by the cases of the W3C's own test suite.

use super::*;

const ID: &str = "12345678901234567890123456789012";
const PARENT: &str = "1234567890123456";

fn span() -> SpanId {
    SpanId::from_random(0xabc)
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in pairs {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

fn read(traceparent: &str) -> Option<Context> {
    Context::of(&fields(&[("Traceparent", traceparent)]), span())
}

#[test]
fn a_traceparent_is_gone_on_with_under_a_new_parent() {
    for (flags, is_sampled) in [("00", false), ("01", true), ("ff", true), ("02", false)] {
        let context = read(&format!("00-{ID}-{PARENT}-{flags}")).unwrap();
        assert_eq!(context.is_sampled, is_sampled, "{flags}");
        assert_eq!(
            context.parent.unwrap().bytes(),
            [0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56]
        );
        let text = String::from_utf8(context.text(context.span).to_vec()).unwrap();
        // Flags that are not known are 0 from here on.
        let flags = if is_sampled { "01" } else { "00" };
        assert_eq!(text, format!("00-{ID}-0000000000000abc-{flags}"));
        let mut id = String::new();
        context.push_id(&mut id);
        assert_eq!(id, ID);
    }
}

#[test]
fn later_versions_are_read_as_far_as_this_one_goes() {
    for more in ["", "-", "-what-the-future-will-be-like"] {
        let context = read(&format!("cc-{ID}-{PARENT}-01{more}")).unwrap();
        let text = context.text(context.span);
        assert!(text.starts_with(b"00-"), "what is sent is of this version");
    }
    assert_eq!(read(&format!("cc-{ID}-{PARENT}-01.what")), None);
}

#[test]
fn what_is_not_a_traceparent_restarts_the_trace() {
    let zeros = ("0".repeat(32), "0".repeat(16));
    for text in [
        String::new(),
        "00".to_owned(),
        format!("ff-{ID}-{PARENT}-01"),
        format!("00-{}-{PARENT}-01", zeros.0),
        format!("00-{ID}-{}-01", zeros.1),
        format!("00-{ID}-{PARENT}-01-more"),
        format!("00-{ID}-{PARENT}-01."),
        format!("00-{ID}-{PARENT}-1"),
        format!("00-{ID}-{PARENT}-001"),
        format!("00-{ID}-{PARENT}-.1"),
        format!("00-{ID}1-{PARENT}-01"),
        format!("00-{}-{PARENT}-01", &ID[1..]),
        format!("00-{}-{PARENT}-01", ID.replace('9', "F")),
        format!("00-{}-{PARENT}-01", ID.replace('9', ".")),
        format!("00-{ID}-{}-01", PARENT.replace('9', "F")),
        format!(".0-{ID}-{PARENT}-01"),
        format!("0.-{ID}-{PARENT}-01"),
        format!("000-{ID}-{PARENT}-01"),
        format!("00_{ID}_{PARENT}_01"),
        "\u{e9}".repeat(40),
    ] {
        assert_eq!(read(&text), None, "{text:?}");
    }
    let good = format!("00-{ID}-{PARENT}-01");
    let twice = fields(&[("traceparent", &good), ("TraceParent", &good)]);
    assert_eq!(Context::of(&twice, span()), None, "two of them");
    assert_eq!(Context::of(&fields(&[]), span()), None);
}

#[test]
fn a_well_formed_tracestate_is_kept() {
    let longest = format!("{}=1", "z".repeat(256));
    let tenant = format!("{}@{}=1", "t".repeat(241), "v".repeat(14));
    let value = format!("a={}", "v".repeat(256));
    let most: Vec<String> = (1..=32).map(|number| format!("bar{number:02}={number}")).collect();
    for text in [
        "foo=1",
        "foo=1,bar=2",
        "foo=1 \t , \t bar=2, \t baz=3",
        "foo=1,,bar=2",
        "foo=1,",
        "a-b*c/d_9=x y!~",
        "0abc@sys=1",
        &longest,
        &tenant,
        &value,
        &most.join(","),
    ] {
        assert_eq!(state_of(&fields(&[("tracestate", text)])), State::Kept, "{text}");
    }
    assert_eq!(state_of(&fields(&[])), State::None);
    let spread = [("tracestate", "foo=1,bar=2"), ("TraceState", ""), ("tracestate", "baz=3")];
    assert_eq!(state_of(&fields(&spread)), State::Joined(b"foo=1,bar=2,baz=3".to_vec()));
}

#[test]
fn a_malformed_tracestate_is_dropped_whole() {
    let too_many: Vec<String> = (0..33).map(|number| format!("bar{number}=1")).collect();
    let (long_key, long_value) = (format!("{}=1", "z".repeat(257)), "v".repeat(257));
    let tenant = format!("{}@v=1", "t".repeat(242));
    let system = format!("t@{}=1", "v".repeat(15));
    for text in [
        "",
        ",",
        "foo",
        "foo=",
        "=1",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "0foo=1",
        "foo@=1,bar=2",
        "@foo=1,bar=2",
        "foo@@bar=1,bar=2",
        "foo@bar@baz=1,bar=2",
        "foo@1bar=1",
        "foo=bar=baz",
        "foo=,bar=3",
        "foo=caf\u{e9}",
        "foo=a\tb",
        &too_many.join(","),
        &long_key,
        &format!("foo={long_value}"),
        &tenant,
        &system,
    ] {
        assert_eq!(state_of(&fields(&[("tracestate", text)])), State::Dropped, "{text:?}");
    }
    let spread = [("tracestate", "foo=1"), ("tracestate", "BAR=2")];
    assert_eq!(state_of(&fields(&spread)), State::Dropped);
}

#[test]
fn ids_are_never_zero() {
    assert_ne!(SpanId::from_random(0).bytes(), [0; 8]);
    assert_ne!(Context::begin([0, 0], span()).trace_id, [0; 16]);
}
