//! What a scalar's text is: null, boolean, number (YAML 1.2's core schema), a duration, a size.
//!
//! Pure functions; their errors say what is allowed, the caller says where and what was got.

use std::time::Duration;

use super::tree::{Node, Scalar, Value, Written};

/// What bare text is in YAML 1.2's core schema.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    /// Fits into 64 bits, with or without a sign.
    Integer(i128),
    /// An integer, but too large.
    Huge,
    Float(f64),
    Text,
}

impl Plain {
    pub(super) fn of(text: &str) -> Self {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Self::Null,
            "true" | "True" | "TRUE" => Self::Bool(true),
            "false" | "False" | "FALSE" => Self::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Self::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Self::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => Self::Float(f64::NAN),
            _ => Self::number(text),
        }
    }

    fn number(text: &str) -> Self {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let all = |digits: &str, ok: fn(&u8) -> bool| {
            !digits.is_empty() && digits.as_bytes().iter().all(ok)
        };
        let parsed = if let Some(hex) = text.strip_prefix("0x") {
            all(hex, u8::is_ascii_hexdigit).then(|| i128::from_str_radix(hex, 16))
        } else if let Some(octal) = text.strip_prefix("0o") {
            all(octal, |byte| matches!(byte, b'0'..=b'7')).then(|| i128::from_str_radix(octal, 8))
        } else {
            all(unsigned, u8::is_ascii_digit).then(|| text.parse())
        };
        match parsed {
            Some(Ok(number)) if (i64::MIN.into()..=u64::MAX.into()).contains(&number) => {
                Self::Integer(number)
            }
            Some(_) => Self::Huge,
            None if is_float(unsigned) => text.parse().map_or(Self::Text, Self::Float),
            None => Self::Text,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn is_bool(&self) -> bool {
        matches!(self, Self::Bool(_))
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self, Self::Integer(_))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Integer(_) | Self::Float(_))
    }
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`: Rust's own parser takes "inf" and "nan" too.
fn is_float(unsigned: &str) -> bool {
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent_is_number = exponent.is_none_or(|exponent| {
        let bare = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        !bare.is_empty() && digits(bare)
    });
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent_is_number
}

impl Scalar {
    /// What may be told of it: not what a variable holds.
    pub(super) fn shown(&self) -> &str {
        self.source.as_deref().unwrap_or(&self.text)
    }

    /// Whether nothing is written: `key:`, `~` or `null`.
    pub(super) fn is_null(&self) -> bool {
        self.written == Written::Plain && Plain::of(&self.text).is_null()
    }
}

impl Node {
    /// Whether nothing is written here.
    pub(super) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.is_null())
    }

    /// What an error says was got: the value shortly, with its kind where that is the point.
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::List(items) if items.is_empty() => "an empty list".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Broken => "nothing".to_owned(),
            Value::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => match (scalar.written, Plain::of(&scalar.text)) {
                (Written::Plain, Plain::Text) | (Written::Expanded, _) => quote(scalar.shown()),
                (Written::Plain, _) => short(scalar.shown()),
                (Written::Quoted, Plain::Text) => quote(scalar.shown()),
                (Written::Quoted, _) => format!("the string {}", quote(scalar.shown())),
            },
        }
    }
}

/// `text` in quotes, cut like [`short`].
pub(super) fn quote(text: &str) -> String {
    format!("{:?}", short(text))
}

/// `text`, cut to what a line of log can bear.
pub(super) fn short(text: &str) -> String {
    const CHARS_MAX: usize = 80;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Reads `5s`, `500ms`, `2m`, `1h`, `1m30s`.
///
/// # Errors
/// What a duration looks like.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let form = "a duration such as 500ms, 5s, 1m30s or 1h";
    let mut total = Duration::ZERO;
    let mut rest = text;
    if Plain::of(text).is_number() {
        return Err(format!("{form}: a number needs a unit, write {text}s or {text}ms"));
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            _ => return Err(format!("{form}: whole numbers with the units h, m, s, ms")),
        };
        let number: u64 = number.parse().map_err(|_| form.to_owned())?;
        let part = Duration::from_millis(number.saturating_mul(unit_ms));
        total = total.saturating_add(part);
        rest = tail;
    }
    if text.is_empty() { Err(form.to_owned()) } else { Ok(total) }
}

/// Writes a duration as [`duration`] reads it.
pub(super) fn show_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1000) => format!("{}s", ms / 1000),
        _ => format!("{ms}ms"),
    }
}

/// Reads a number of bytes: `16384`, `16KiB`, `1MiB`, `1GiB`, `1TiB`.
///
/// # Errors
/// What a size looks like.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let form = "a size in bytes such as 16384, 16KiB, 1MiB or 1GiB";
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => {
            return Err(format!("{form}: whole numbers, units KiB, MiB, GiB, TiB or none"));
        }
    };
    let number: u64 = number.parse().map_err(|_| form.to_owned())?;
    Ok(number.saturating_mul(1 << shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_what_the_core_schema_says() {
        for (text, want) in [
            ("", Plain::Null),
            ("~", Plain::Null),
            ("true", Plain::Bool(true)),
            ("FALSE", Plain::Bool(false)),
            ("yes", Plain::Text),
            ("off", Plain::Text),
            ("007", Plain::Integer(7)),
            ("-12", Plain::Integer(-12)),
            ("+12", Plain::Integer(12)),
            ("0x1F", Plain::Integer(31)),
            ("0o17", Plain::Integer(15)),
            ("0x+1", Plain::Text),
            ("18446744073709551615", Plain::Integer(u64::MAX.into())),
            ("18446744073709551616", Plain::Huge),
            ("-9223372036854775809", Plain::Huge),
            ("99999999999999999999999999999999999999999999", Plain::Huge),
            ("1.5", Plain::Float(1.5)),
            ("1e3", Plain::Float(1000.0)),
            (".5", Plain::Float(0.5)),
            ("-.inf", Plain::Float(f64::NEG_INFINITY)),
            ("inf", Plain::Text),
            ("nan", Plain::Text),
            (".", Plain::Text),
            ("1e", Plain::Text),
            ("1_000", Plain::Text),
            ("1.2.3", Plain::Text),
            ("-", Plain::Text),
        ] {
            assert_eq!(Plain::of(text), want, "{text:?}");
        }
    }

    #[test]
    fn durations_need_a_unit_and_whole_numbers() {
        for (text, want_ms) in [
            ("5s", 5_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("0s", 0),
            ("99999999999999999999h", 0),
        ] {
            match duration(text) {
                Ok(got) => assert_eq!(got, Duration::from_millis(want_ms), "{text}"),
                Err(_) => assert_eq!(text, "99999999999999999999h"),
            }
        }
        assert_eq!(
            duration("5").unwrap_err(),
            "a duration such as 500ms, 5s, 1m30s or 1h: a number needs a unit, write 5s or 5ms"
        );
        for bad in ["", "s", "5 s", "1.5s", "-5s", "5sec", "5s ", "5s3", "\u{665}s", "5\u{3bc}s"] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_read_back_as_they_are_shown() {
        for ms in [0, 1, 999, 1000, 1500, 60_000, 61_000, 3_600_000, 86_400_000] {
            let want = Duration::from_millis(ms);
            assert_eq!(duration(&show_duration(want)).unwrap(), want);
        }
    }

    #[test]
    fn sizes_take_binary_units_only() {
        for (text, want) in [
            ("0", 0),
            ("16384", 16_384),
            ("16KiB", 16_384),
            ("1MiB", 1 << 20),
            ("1GiB", 1 << 30),
            ("1TiB", 1 << 40),
            ("18446744073709551615TiB", u64::MAX),
        ] {
            assert_eq!(size(text).unwrap(), want, "{text}");
        }
        for bad in ["", "KiB", "16KB", "16k", "1.5MiB", "-1", "1 MiB", "18446744073709551616"] {
            assert!(size(bad).is_err(), "{bad:?}");
        }
    }
}
