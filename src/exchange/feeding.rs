//! Bodies that plugins read in the middle of their calls: the source is read when one of them asks,
//! and no further.

use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Instant;

use super::Exchange;
use super::decode::Refusals;
use crate::error::Error;
use crate::http::coding::{Failure, Step, Undo};
use crate::http::message::{BodyLength, Fields};
use crate::http::relay::BodySource;
use crate::io::budget::Held;
use crate::io::buffer::BufferPool;
use crate::io::sleep;
use crate::limits::PLUGIN_YIELD;
use crate::plugin::{Carried, Fed, Feed, Verdict};

/// A source that is read for plugins as they ask.
pub(super) struct Feeding<'a> {
    feed: Rc<Feed>,
    /// What has to be undone of the body.
    pub(super) undo: Option<Undo>,
    too_large: Error,
    malformed: Error,
    /// There is a body to read.
    has_body: bool,
    /// The source has come to its end.
    is_read: bool,
    held: &'a Held,
    buffers: &'a BufferPool,
    holds: usize,
}

impl Exchange<'_> {
    /// What plugins are fed by that ask for a body of this `length`.
    pub(super) fn feeding(
        &self,
        carried: &mut Carried,
        undo: Option<Undo>,
        length: BodyLength,
        refusals: &Refusals,
    ) -> Feeding<'_> {
        let feed = Rc::new(Feed::new(self.snapshot.limits.plugin_body_bytes_max));
        carried.set_feed(&feed);
        Feeding {
            feed,
            undo,
            too_large: refusals.too_large,
            malformed: refusals.malformed,
            has_body: length != BodyLength::Empty,
            is_read: false,
            held: &self.held,
            buffers: self.worker.buffers(),
            holds: 0,
        }
    }
}

/// What goes on of a body that a plugin has made anew, or else of what has been `fed`.
pub(super) fn of_whole(new: Option<Vec<u8>>, fed: Fed) -> Fed {
    match new {
        None => fed,
        Some(bytes) => {
            Fed { bytes, is_touched: true, end: Some(fed.end.unwrap_or_default()), ..fed }
        }
    }
}

impl Feeding<'_> {
    /// The body begins with these bytes of the source, which have been read before.
    pub(super) fn begin_with(&mut self, bytes: &[u8]) {
        match &mut self.undo {
            Some(undo) => undo.give(bytes),
            None => self.feed.give(bytes, None),
        }
    }

    /// The trailers of a body that has been read whole.
    pub(super) fn know_trailers(&self, trailers: &Fields) {
        self.feed.know_trailers(trailers);
    }

    /// What the plugins have left of the body.
    pub(super) fn finish(&self) -> Fed {
        self.feed.finish()
    }

    /// Runs plugins to their verdict, and reads for them what they ask for. `begin` is called
    /// before the first read.
    pub(super) async fn serve<B: BodySource>(
        &mut self,
        mut plugins: Pin<&mut impl Future<Output = Verdict>>,
        source: &mut B,
        begin: impl AsyncFnOnce() -> Result<(), Error>,
    ) -> Result<Verdict, Error> {
        let mut begin = Some(begin);
        loop {
            let feed = &self.feed;
            let verdict = std::future::poll_fn(|task| match plugins.as_mut().poll(task) {
                Poll::Ready(verdict) => Poll::Ready(Some(verdict)),
                Poll::Pending if feed.is_asked() || feed.is_too_large() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await;
            if let Some(verdict) = verdict {
                return Ok(verdict);
            }
            if self.feed.is_too_large() {
                return Err(self.too_large);
            }
            if let Some(begin) = begin.take().filter(|_| self.has_body) {
                begin().await?;
            }
            self.read(source).await?;
            self.hold()?;
        }
    }

    /// Reads on until there is something to give.
    async fn read<B: BodySource>(&mut self, source: &mut B) -> Result<(), Error> {
        if !self.has_body {
            self.feed.give(&[], Some(&Fields::new()));
            return Ok(());
        }
        let mut since = Instant::now();
        loop {
            if let Some(undo) = &mut self.undo {
                let mut plain = Vec::new();
                let step =
                    undo.step(self.is_read, &mut plain).map_err(|failure| match failure {
                        Failure::NoRoom(error) => error,
                        Failure::Malformed | Failure::TooLarge => self.malformed,
                    })?;
                if !plain.is_empty() {
                    self.feed.give(&plain, None);
                    return Ok(());
                }
                if step == Step::More {
                    if since.elapsed() >= PLUGIN_YIELD {
                        // Through the timer, as in `http/coding.rs`.
                        sleep(PLUGIN_YIELD).await;
                        since = Instant::now();
                    }
                    continue;
                }
            }
            if self.is_read {
                self.feed.give(&[], Some(source.trailers()));
                return Ok(());
            }
            let chunk = source.next().await?;
            self.is_read = chunk.is_none() || source.is_done();
            let Some(chunk) = chunk else {
                continue;
            };
            let is_given = self.undo.is_none();
            match &mut self.undo {
                Some(undo) => undo.give(chunk.bytes()),
                None => self.feed.give(chunk.bytes(), self.is_read.then(|| source.trailers())),
            }
            self.buffers.give(chunk.into_parts().0);
            if is_given {
                return Ok(());
            }
        }
    }

    fn hold(&mut self) -> Result<(), Error> {
        let before = std::mem::replace(&mut self.holds, self.feed.held());
        self.held.release(before.saturating_sub(self.holds));
        self.held.claim(self.holds.saturating_sub(before))
    }
}
