//! A length of time as configurations write it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// A length of time: `500ms`, `60s`, `5m`, `1h`, `2d`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    millis: i64,
}

impl Period {
    /// So many milliseconds.
    pub const fn from_millis(millis: i64) -> Self {
        Self { millis }
    }

    /// So many seconds.
    pub const fn from_seconds(seconds: i64) -> Self {
        Self { millis: seconds.saturating_mul(1000) }
    }

    /// In milliseconds, never negative.
    pub const fn millis(self) -> i64 {
        self.millis
    }

    /// In seconds, rounded up.
    pub const fn seconds(self) -> i64 {
        self.millis / 1000 + if self.millis % 1000 == 0 { 0 } else { 1 }
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let unit_ms = match &text[digits..] {
            "ms" => 1,
            "s" | "" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return None,
        };
        let number: i64 = text[..digits].parse().ok()?;
        Some(Self { millis: number.checked_mul(unit_ms)? })
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PeriodVisitor;

        impl Visitor<'_> for PeriodVisitor {
            type Value = Period;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a time such as 500ms, 60s, 5m, 1h, 2d, or a number of seconds")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Period, E> {
                Period::parse(text)
                    .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_u64<E: Error>(self, seconds: u64) -> Result<Period, E> {
                let millis = i64::try_from(seconds).ok().and_then(|s| s.checked_mul(1000));
                millis.map(Period::from_millis).ok_or_else(|| {
                    E::invalid_value(serde::de::Unexpected::Unsigned(seconds), &self)
                })
            }

            fn visit_i64<E: Error>(self, seconds: i64) -> Result<Period, E> {
                Err(E::invalid_value(serde::de::Unexpected::Signed(seconds), &self))
            }

            fn visit_f64<E: Error>(self, seconds: f64) -> Result<Period, E> {
                if !(0.0..1e12).contains(&seconds) {
                    return Err(E::invalid_value(serde::de::Unexpected::Float(seconds), &self));
                }
                #[expect(clippy::cast_possible_truncation, reason = "bounded just now")]
                Ok(Period::from_millis((seconds * 1000.0) as i64))
            }
        }

        deserializer.deserialize_any(PeriodVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_each_unit() {
        let cases = [
            (r#""500ms""#, 500),
            (r#""60s""#, 60_000),
            (r#""60""#, 60_000),
            (r#""5m""#, 300_000),
            (r#""1h""#, 3_600_000),
            (r#""2d""#, 172_800_000),
            ("300", 300_000),
            ("0.5", 500),
        ];
        for (text, millis) in cases {
            let period: Period = serde_json::from_str(text).unwrap();
            assert_eq!(period.millis(), millis, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [r#""""#, r#""s""#, r#""-1s""#, r#""1 s""#, r#""1w""#, "-1", "null", "1e300"] {
            assert!(serde_json::from_str::<Period>(text).is_err(), "{text}");
        }
    }
}
