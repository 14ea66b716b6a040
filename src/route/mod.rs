//! Which service serves a request: the path is normalised once, then matched; the same normalised
//! path is what plugins match and what the origin gets, so that no spelling leads around a plugin.

pub mod cors;
pub mod edit;
pub mod matcher;
pub mod mirror;
pub mod path;
pub mod split;
pub mod table;
