//! How a plugin is given bodies.

/// How a plugin is given the bodies of the phases that it runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyMode {
    /// Not at all: they stream past it.
    None,
    /// Whole, in memory.
    Whole,
    /// Piece by piece, as they come.
    Stream,
    /// Event by event, where they are `text/event-stream`; others piece by piece.
    Events,
}

impl BodyMode {
    /// All of them, by what a configuration says. `true` is another word for `whole`.
    pub const NAMED: [(&'static str, Self); 5] = [
        ("false", Self::None),
        ("true", Self::Whole),
        ("whole", Self::Whole),
        ("stream", Self::Stream),
        ("events", Self::Events),
    ];

    /// The mode that a configuration names so.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(named, _)| *named == name).map(|(_, mode)| *mode)
    }

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "false",
            Self::Whole => "whole",
            Self::Stream => "stream",
            Self::Events => "events",
        }
    }

    /// Whether bodies pass the plugin while they come.
    pub fn is_streaming(self) -> bool {
        matches!(self, Self::Stream | Self::Events)
    }
}
