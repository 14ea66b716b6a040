//! What a start takes out of the configuration for the workers' runtime and for plugins'.

use crate::control::config::{self, Config, IoDriver};
use crate::io::driver::Preference;
use crate::plugin::RuntimeOptions;

/// How workers are to wait for sockets.
pub(super) fn preference(driver: IoDriver) -> Preference {
    match driver {
        IoDriver::Auto => Preference::Auto,
        IoDriver::IoUring => Preference::IoUring,
        IoDriver::Epoll => Preference::Epoll,
    }
}

/// How plugins are run.
pub(super) fn runtime_options(config: &Config) -> RuntimeOptions {
    let cache_dir = match (config.wasm.cache_enabled, &config.wasm.cache_dir) {
        (false, _) => None,
        (true, Some(dir)) => Some(dir.clone()),
        (true, None) => config::default_cache_dir(),
    };
    // What `make flamegraph` sets; no key of the configuration, as it is of no use to a gateway.
    let perf_map = std::env::var_os("ODIN_PERF_MAP").is_some();
    RuntimeOptions { cache_dir, perf_map, ..RuntimeOptions::default() }
}
