//! What other rooms name of the runtime: its sockets, its traits of reading and writing, and a
//! runtime of its own for a thread that is no worker.

use std::io;

pub use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, CancelHandle};
pub use monoio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use monoio::time::TimeDriver;
use monoio::{LegacyDriver, Runtime, RuntimeBuilder};

/// A runtime for a thread that is no worker.
pub type Local = Runtime<TimeDriver<LegacyDriver>>;

/// Makes one. It waits by epoll: no kernel refuses that.
pub fn local() -> io::Result<Local> {
    RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()
}
