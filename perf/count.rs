//! Counts instructions: of whole requests through a worker, and of the stages of a request. Runs
//! under callgrind; `perf/check.py` starts it and reads what callgrind wrote.
#![expect(unreachable_pub, reason = "nothing of this crate is public: `pub` is for its modules")]
#![expect(unsafe_code, reason = "asks things of valgrind, and stands in for libc's clocks")]
#![expect(clippy::print_stderr, reason = "a command speaks to its terminal")]

mod callgrind;
mod messages;
mod requests;
mod setting;
mod stages;
mod still;

use std::process::ExitCode;

/// Runs of a stage before those that count, and of those.
const WARM_UP: usize = 50;
const COUNTED: usize = 200;

/// As the gateway has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    if !callgrind::is_there() {
        eprintln!("count: counts only under valgrind: make perf-check");
        return ExitCode::FAILURE;
    }
    still::let_run(true);
    // Compiles the plugins: before anything is instrumented.
    let runtime = setting::runtime();
    let stages = stages::all(&runtime);
    callgrind::start();
    still::let_run(false);
    for mut stage in stages {
        (0..WARM_UP).for_each(|_| (stage.run)());
        let name = format!("stage/{} {COUNTED}", stage.name);
        callgrind::begin();
        (0..COUNTED).for_each(|_| (stage.run)());
        callgrind::end(&name);
    }
    for scenario in requests::all() {
        requests::run(&runtime, scenario);
    }
    ExitCode::SUCCESS
}
