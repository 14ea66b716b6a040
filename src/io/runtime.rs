//! What other rooms name of the runtime: its sockets, its traits of reading and writing, and a
//! runtime of its own for a thread that is no worker.

use std::fmt;
use std::io;

pub use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, CancelHandle};
pub use monoio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use monoio::{LegacyDriver, Runtime, RuntimeBuilder};

use crate::io::timers::Timers;

/// A runtime for a thread that is no worker.
pub struct Local {
    runtime: Runtime<LegacyDriver>,
    timers: Timers,
}

impl Local {
    /// Runs `task` on this thread to its end, and what others have spawned meanwhile.
    pub fn block_on<T>(&mut self, task: impl Future<Output = T>) -> T {
        let _timers = self.timers.enter();
        // Futures are large, and the runtime would move this one.
        let task = std::pin::pin!(task);
        self.runtime.block_on(self.timers.beside(task))
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Local").finish_non_exhaustive()
    }
}

/// Makes one. It waits by epoll: no kernel refuses that.
pub fn local() -> io::Result<Local> {
    let runtime = RuntimeBuilder::<LegacyDriver>::new().build()?;
    Ok(Local { runtime, timers: Timers::new()? })
}
