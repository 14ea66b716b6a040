//! What a command says on its standard streams.
//!
//! A reader that has gone (`odin-cli inspect plugin.wasm | head -1`) is no failure, and no reason
//! to end with another status: what is said then goes nowhere. (`println!` would panic.)

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// EX_IOERR of sysexits.h: what was asked for could not be written.
const EXIT_IO: i32 = 74;

/// Says a line on standard output. Where it can't be written for another reason than that nobody
/// reads it (a full disk), the process ends: the answer would be one that is cut.
pub fn out(line: impl Display) {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            err(format_args!("cannot write to standard output: {error}"));
            std::process::exit(EXIT_IO);
        }
        Ok(()) | Err(_) => {}
    }
}

/// Says a line on standard error, if that is possible.
pub fn err(line: impl Display) {
    let _nobody_reads = writeln!(io::stderr().lock(), "{line}");
}
