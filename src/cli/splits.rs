//! Cases of plugins that are given bodies piece by piece: each is played again and again, with its
//! bodies cut at every place. What passes must not depend on how a body happens to come.

use odin::plugin::trial::{Ended, Passed};

/// Bodies up to this length are cut at every place; longer ones at so many.
const PLACES_MAX: usize = 512;

/// How the bodies of a case are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Split {
    /// Not at all.
    Whole,
    /// Each byte comes by itself.
    Bytes,
    /// In two, before this byte.
    At(usize),
}

impl Split {
    /// Every way for bodies of which the longest has `length` bytes.
    pub(crate) fn all(length: usize) -> impl Iterator<Item = Self> {
        let step = length.div_ceil(PLACES_MAX).max(1);
        let cuts = (1..length).step_by(step).map(Self::At);
        [Self::Whole, Self::Bytes].into_iter().chain(cuts)
    }

    /// The places in a body of `length` bytes.
    pub(crate) fn places(self, length: usize) -> Vec<usize> {
        match self {
            Self::Whole => Vec::new(),
            Self::Bytes => (1..length).collect(),
            Self::At(place) if place < length => vec![place],
            Self::At(_) => Vec::new(),
        }
    }

    /// In words, for what was not as expected.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Whole => String::new(),
            Self::Bytes => "byte by byte: ".to_owned(),
            Self::At(place) => format!("cut before byte {place}: "),
        }
    }
}

/// What has become of a body, in the words of a case: `cut`, `answered`, or nothing.
pub(crate) fn ended(passed: &Passed) -> Option<String> {
    passed.ended.as_ref().map(|ended| match ended {
        Ended::Cut => "cut".to_owned(),
        Ended::Answered(local) => format!("answered {}", local.status),
    })
}
