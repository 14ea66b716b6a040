//! What this process asks of callgrind, which counts the instructions of what it runs.
//!
//! Counting is off until [`begin`], and off again within an [`Uncounted`] future: what plays the
//! client and the origin runs on the worker's own thread and is no cost of the gateway.

use std::arch::asm;
use std::ffi::CString;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

/// valgrind.h and callgrind.h: `VG_USERREQ__RUNNING_ON_VALGRIND`, and what begins with the letters
/// of the tool.
const RUNNING_ON_VALGRIND: usize = 0x1001;
const TOOL: usize = (b'C' as usize) << 24 | (b'T' as usize) << 16;
const ZERO_STATS: usize = TOOL + 1;
const TOGGLE_COLLECT: usize = TOOL + 2;
const DUMP_STATS_AT: usize = TOOL + 3;
const START_INSTRUMENTATION: usize = TOOL + 4;

/// Between [`begin`] and [`end`].
static IS_MEASURING: AtomicBool = AtomicBool::new(false);
/// What callgrind's switch stands at.
static IS_COLLECTING: AtomicBool = AtomicBool::new(false);

/// A client request of valgrind: four rotations that together change nothing, then an exchange of a
/// register with itself, which valgrind takes for a call and every processor for nothing.
fn request(code: usize, argument: usize) -> usize {
    let arguments: [usize; 6] = [code, argument, 0, 0, 0, 0];
    let mut answer = 0_usize;
    // SAFETY: the sequence is the one that valgrind.h has for amd64; without valgrind it leaves all
    // registers as they are. valgrind reads the array, which outlives it.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") answer,
            inout("rdi") 0_usize => _,
        );
    }
    answer
}

/// Whether this process runs under valgrind.
pub fn is_there() -> bool {
    request(RUNNING_ON_VALGRIND, 0) > 0
}

fn collect(on: bool) {
    if IS_COLLECTING.swap(on, Relaxed) != on {
        request(TOGGLE_COLLECT, 0);
    }
}

/// Has the code be translated for counting (all of it is forgotten, so not more often than needed).
pub fn start() {
    request(START_INSTRUMENTATION, 0);
}

/// Counts from here on, from 0.
pub fn begin() {
    request(ZERO_STATS, 0);
    IS_MEASURING.store(true, Relaxed);
    collect(true);
}

/// Counts no more; callgrind writes a file with what was counted, which bears this name.
pub fn end(name: &str) {
    collect(false);
    IS_MEASURING.store(false, Relaxed);
    let name = CString::new(name).expect("names are written here");
    request(DUMP_STATS_AT, name.as_ptr() as usize);
}

/// A future whose work is not counted.
pub struct Uncounted<F>(Pin<Box<F>>);

impl<F: Future> Uncounted<F> {
    pub fn new(future: F) -> Self {
        Self(Box::pin(future))
    }
}

impl<F: Future> Future for Uncounted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        collect(false);
        let outcome = self.0.as_mut().poll(context);
        collect(IS_MEASURING.load(Relaxed));
        outcome
    }
}
