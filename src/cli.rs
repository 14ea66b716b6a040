//! The plugin author's tool.
fn main() {}
