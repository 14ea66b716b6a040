//! A connection that goes on with another protocol than HTTP.

use super::{HttpReply, Next, RequestBody};
use crate::error::Error;
use crate::exchange::{Core, Tunnel};
use crate::http::connection::Connection;
use crate::http::message::Fields;
use crate::http::upgrade::{TunnelSink, TunnelSource};
use crate::io::buffer::Chunk;
use crate::io::stream::{self, Direction, Stream};

/// Runs a tunnel to its end, and says what becomes of the connection then.
pub(super) async fn run<S: Stream>(
    tunnel: Box<Tunnel>,
    body: &mut RequestBody<S>,
    reply: &mut HttpReply<S>,
    connection: &Connection,
    worker: &Core,
) -> Next {
    body.receiver.begin_raw();
    reply.sender.set_write_timeout(tunnel.stall());
    reply.sender.bound(u64::MAX);
    let ended = tunnel.run(worker, connection, body, reply).await;
    reply.is_cut = ended.is_cut;
    match ended.is_client_there {
        true => Next::Linger { sends_on: true },
        false => Next::Close,
    }
}

impl<S: Stream> TunnelSource for RequestBody<S> {
    fn has_raw(&self) -> bool {
        self.receiver.is_ready()
    }

    async fn next_raw(&mut self) -> Result<Option<Chunk>, Error> {
        self.receiver.next_raw().await.map_err(|_| Error::DownstreamGone)
    }
}

impl<S: Stream> TunnelSink for HttpReply<S> {
    async fn write_raw(&mut self, chunk: Chunk) -> Result<(), Error> {
        self.sender.body(chunk).await.map_err(|_| Error::DownstreamGone)
    }

    async fn flush_raw(&mut self) -> Result<(), Error> {
        self.sender.finish(&Fields::new()).await.map_err(|_| Error::DownstreamGone)
    }

    async fn end_raw(&mut self) -> Result<(), Error> {
        self.flush_raw().await?;
        self.sender.say_end().await;
        stream::shutdown(self.fd, Direction::Write);
        Ok(())
    }
}
