//! The configuration: YAML text to a [`Config`], or every error of the text at once.
//!
//! Control thread only; it may read files and allocate.

mod model;

pub use model::*;
