//! config/deploy: every file is read by the tool that it is for, or by the gateway itself.
//!
//! What no machine without Docker and a cluster can run (building the image, applying the
//! manifests) is named as not run in config/deploy/README.md.

mod files;
mod image;
mod monitoring;
mod rotation;
mod service;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}

fn read(file: &str) -> String {
    let path = root(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A validator that `.ci/tools` has installed.
fn tool(name: &str) -> Command {
    let path = root("target/tools").join(name);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    Command::new(path)
}

/// Runs a command that must succeed; what it has said.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = said(&output);
    assert!(output.status.success(), "{command:?}: {said}");
    said
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}
