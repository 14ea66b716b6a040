//! `odin check --deep`: what a start would find out beside what the file says, without starting.
//!
//! Modules are read (fetched, where they are on other machines) and compiled, names looked up,
//! certificates read: what a plugin or a target lacks is told as the log of a start tells it.
//! Nothing is written, not even a cache: who checks is often root, and what root leaves behind is
//! not the gateway's.

use std::path::Path;

use super::compile::{Compiled, Compiler, Findings};
use super::config::{AccessLog, Config};
use super::modules::{self, Fetcher};
use crate::plugin::{Runtime, RuntimeOptions};

/// Compiles a configuration and throws the result away. Takes as long as a first start.
///
/// # Errors
/// Nothing can be compiled on this machine, in words.
pub fn deep(config: &Config) -> Result<Findings, String> {
    let options = RuntimeOptions { cache_dir: None, ..RuntimeOptions::default() };
    let runtime = Runtime::new(&options).map_err(|error| error.to_string())?;
    // Opening it would make it.
    let mut quiet = config.clone();
    quiet.logging.access_log = AccessLog::Off;
    let (quiet, _aside) = modules::set_aside(&quiet)?;
    let mut compiler = Compiler::new(runtime, 1, &quiet.kv);
    let waiting = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let waiting = waiting.map_err(|error| error.to_string())?;
    compiler.lack(waiting.block_on(Fetcher::default().obtain(&quiet, |_| true, None)));
    let Compiled { mut findings, .. } = compiler.compile(&quiet, None);
    if let AccessLog::File(path) = &config.logging.access_log
        && let Err(reason) = has_folder(path)
    {
        findings.no_access_log(reason);
    }
    Ok(findings)
}

fn has_folder(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if folder.is_dir() {
        return Ok(());
    }
    Err(format!("there is no folder {} for it; create it", folder.display()))
}
