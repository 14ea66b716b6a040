//! How a call of gRPC has ended, by its own status.

use crate::http::message::Fields;

/// A `grpc-status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrpcStatus(u8);

impl GrpcStatus {
    /// How many there are: those that gRPC has, and one for all others.
    pub const COUNT: usize = 18;
    /// A number that gRPC has not.
    const OTHER: u8 = 17;

    /// What a head or trailers say.
    pub fn of(fields: &Fields) -> Option<Self> {
        let value = fields.get("grpc-status")?;
        let number = std::str::from_utf8(value).ok().and_then(|text| text.parse::<u8>().ok());
        Some(Self(number.filter(|number| *number < Self::OTHER).unwrap_or(Self::OTHER)))
    }

    /// Its place among [`Self::COUNT`].
    pub fn place(self) -> usize {
        usize::from(self.0)
    }

    /// The status at a place, as a label: its number, or `other`.
    pub fn label(place: usize) -> &'static str {
        const LABELS: [&str; GrpcStatus::COUNT] = [
            "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15",
            "16", "other",
        ];
        LABELS.get(place).copied().unwrap_or("none")
    }

    /// Its label.
    pub fn as_str(self) -> &'static str {
        Self::label(self.place())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_of_those_that_there_are_or_another() {
        let of = |value: &[u8]| {
            let mut fields = Fields::new();
            fields.push(b"grpc-status", value);
            GrpcStatus::of(&fields).map(GrpcStatus::as_str)
        };
        assert_eq!((of(b"0"), of(b"16")), (Some("0"), Some("16")));
        for other in [&b"17"[..], b"300", b"-1", b"", b"OK"] {
            assert_eq!(of(other), Some("other"));
        }
        assert_eq!(GrpcStatus::of(&Fields::new()), None);
    }
}
