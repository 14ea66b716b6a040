//! What a program's command line says of itself to others: completions for shells, manual pages.

use std::path::Path;

pub use clap_complete::Shell;

/// The script that completes a program's command line in a shell.
pub fn completions(shell: Shell, mut command: clap::Command) -> String {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    // A vector takes whatever is written.
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes a page for a program and one for each of its commands into a folder that is there:
/// `odin.1`, `odin-check.1` …
///
/// # Errors
/// A page can't be written.
pub fn write_pages(command: clap::Command, folder: &Path) -> Result<(), String> {
    clap_mangen::generate_to(command, folder)
        .map_err(|error| format!("cannot write manual pages to {}: {error}", folder.display()))
}
