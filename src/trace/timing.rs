//! `Server-Timing` (W3C): what took how long, for whoever looks at a response.

use std::io::Write as _;
use std::time::Duration;

use super::Trace;
use super::notes::{Note, What};
use crate::http::message::{Fields, is_token_byte};

/// The field's name.
const SERVER_TIMING: &[u8] = b"Server-Timing";

impl Trace {
    /// Adds `Server-Timing` to a response's fields, if that is asked for: each plugin's share, the
    /// tries at origins up to the heads of their answers, and all so far. An origin's own field
    /// stays as it is. `plugins`: the names of its chain.
    pub fn add_server_timing<'a>(
        &self,
        plugins: impl Iterator<Item = &'a str>,
        fields: &mut Fields,
    ) {
        let Some(started) = self.started.filter(|_| self.is_timed) else {
            return;
        };
        let notes = self.notes.borrow();
        let mut value = Vec::with_capacity(128);
        for (index, name) in plugins.enumerate() {
            let calls =
                |note: &Note| matches!(note.what, What::Plugin { index: at, .. } if at == index);
            if let Some(took) = sum(&notes, calls) {
                value.extend_from_slice(b"plugin-");
                // A name of a plugin is a token; should it not be, it still is none of two entries.
                let name = name.bytes();
                value.extend(name.map(|byte| if is_token_byte(byte) { byte } else { b'_' }));
                push(took, &mut value);
            }
        }
        if let Some(took) = sum(&notes, |note| matches!(note.what, What::Attempt(_))) {
            value.extend_from_slice(b"upstream");
            push(took, &mut value);
        }
        value.extend_from_slice(b"total");
        push(started.elapsed(), &mut value);
        // The separator after the last one.
        value.truncate(value.len() - 2);
        fields.push(SERVER_TIMING, &value);
    }
}

/// The time of those that are meant; `None` if there is none.
fn sum(notes: &[Note], is_meant: impl Fn(&Note) -> bool) -> Option<Duration> {
    let meant = notes.iter().filter(|note| is_meant(note));
    meant.map(|note| note.took.unwrap_or_else(|| note.begun.elapsed())).reduce(|a, b| a + b)
}

fn push(took: Duration, out: &mut Vec<u8>) {
    let micros = took.as_micros();
    // Writing to memory does not fail.
    let _ = write!(out, ";dur={}.{:03}, ", micros / 1000, micros % 1000);
}
