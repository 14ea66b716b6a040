//! A clock that stands: what goes by the time of day would count differently in every run.
//!
//! The functions of libc by which this process would see time pass or draw a random seed are
//! defined here, and the linker takes these: timers fire when the harness says so, the plugins'
//! ticker never ticks, hash tables are laid out alike in every run.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Relaxed};

/// The state behind `getrandom`.
static DRAWN: AtomicU64 = AtomicU64::new(1);
/// Since the start of this process, in nanoseconds.
static NOW: AtomicU64 = AtomicU64::new(0);
static RUNS: AtomicBool = AtomicBool::new(false);
/// The timer (of the one worker) that was set while clocks stood.
static HELD_BACK: AtomicI32 = AtomicI32::new(NO_TIMER);
const NO_TIMER: c_int = -1;
/// The number of the system call on x86-64, where the counts are made.
const TIMERFD_SETTIME: c_long = 286;

const SECOND: u64 = 1_000_000_000;
/// What every clock shows at first: some day in 2024, so that no subtraction ends below 0.
const EPOCH: u64 = 1_704_067_200 * SECOND;
/// How far a clock that runs gets from one look to the next.
const STEP: u64 = SECOND / 1000;

#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// Moves all clocks.
pub fn advance(nanoseconds: u64) {
    NOW.fetch_add(nanoseconds, Relaxed);
}

/// Whether clocks get on by themselves: while something starts or ends, which waits for timers.
pub fn let_run(runs: bool) {
    RUNS.store(runs, Relaxed);
    let waiting = if runs { HELD_BACK.swap(NO_TIMER, Relaxed) } else { NO_TIMER };
    if waiting != NO_TIMER {
        let soon =
            [Timespec { seconds: 0, nanoseconds: 0 }, Timespec { seconds: 0, nanoseconds: 1 }];
        timerfd_settime(waiting, 0, &raw const soon, std::ptr::null_mut());
    }
}

/// Of libc.
#[unsafe(no_mangle)]
pub extern "C" fn clock_gettime(_: c_int, time: *mut Timespec) -> c_int {
    let step = if RUNS.load(Relaxed) { STEP } else { 0 };
    let now = EPOCH + NOW.fetch_add(step, Relaxed);
    let time_now = Timespec { seconds: (now / SECOND) as i64, nanoseconds: (now % SECOND) as i64 };
    // SAFETY: callers of clock_gettime pass the place for the answer.
    unsafe { time.write(time_now) };
    0
}

unsafe extern "C" {
    fn pause() -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

/// Of libc: sleeps until the process ends.
#[unsafe(no_mangle)]
pub extern "C" fn nanosleep(_: *const Timespec, _: *mut Timespec) -> c_int {
    loop {
        // SAFETY: pause takes nothing and returns after a signal.
        unsafe { pause() };
    }
}

/// Of libc: while clocks stand, the timer is set when they run again, and fires at once then.
#[unsafe(no_mangle)]
pub extern "C" fn timerfd_settime(
    timer: c_int,
    flags: c_int,
    wanted: *const [Timespec; 2],
    before: *mut [Timespec; 2],
) -> c_int {
    if !RUNS.load(Relaxed) {
        HELD_BACK.store(timer, Relaxed);
        return 0;
    }
    // SAFETY: the kernel's function is given what libc's is.
    unsafe { syscall(TIMERFD_SETTIME, timer, flags, wanted, before) as c_int }
}

/// Of libc: as [`nanosleep`].
#[unsafe(no_mangle)]
pub extern "C" fn clock_nanosleep(
    _: c_int,
    _: c_int,
    wanted: *const Timespec,
    left: *mut Timespec,
) -> c_int {
    nanosleep(wanted, left)
}

/// Of libc: the same bytes in every run, and no two words alike (equal keys would make hashes that
/// are no hashes).
#[unsafe(no_mangle)]
pub extern "C" fn getrandom(buffer: *mut c_void, length: usize, _: c_uint) -> isize {
    for at in (0..length).step_by(size_of::<u64>()) {
        let state = DRAWN.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        let word = state.wrapping_mul(0xbf58_476d_1ce4_e5b9).to_be_bytes();
        let count = word.len().min(length - at);
        // SAFETY: callers of getrandom pass a buffer of this length; a word is no longer than what
        // is left of it.
        unsafe { buffer.cast::<u8>().add(at).copy_from_nonoverlapping(word.as_ptr(), count) };
    }
    length.cast_signed()
}
