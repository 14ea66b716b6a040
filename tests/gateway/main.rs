//! The gateway from outside: one file per behaviour, each against a real process, a scripted
//! origin and a client that writes raw bytes.
//!
//! `ODIN_TEST_IO_DRIVER` (`auto`, `io_uring`, `epoll`) chooses the driver that is tested.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and its threads may wait for one another"
)]

mod framing;
mod support;
