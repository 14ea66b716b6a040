//! Times the stages of a request: `make bench`, or `make bench BENCH=plugin/` for some of them.
#![expect(unreachable_pub, reason = "nothing of this crate is public: `pub` is for its modules")]

mod messages;
mod setting;
mod stages;

use std::time::Duration;

use criterion::Criterion;

/// As the gateway has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let runtime = setting::runtime();
    for mut stage in stages::all(&runtime) {
        criterion.bench_function(stage.name, |bencher| bencher.iter(|| (stage.run)()));
    }
    criterion.final_summary();
}
