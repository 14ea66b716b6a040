//! What a connection sends.

use super::stream::{Ended, Finish, Stream};
use super::{Connection, Owner};
use crate::http::h2::frame::{self, Code, PAYLOAD_BYTES_MAX, flag, kind};
use crate::http::h2::hpack;
use crate::io::buffer::Chunk;
use crate::limits::STREAM_WINDOW_BYTES;

impl<T: Owner> Connection<T> {
    /// Opens a stream with the head of a request, as a field block; its identifier. `ends`: it has
    /// no body. `None`: it may not be opened ([`Self::may_open`]).
    pub fn open(&mut self, block: &[u8], ends: bool, is_head: bool, owner: T) -> Option<u32> {
        if !self.may_open() {
            return None;
        }
        let id = self.next_own;
        self.next_own += 2;
        let mut stream = Stream::new(id, STREAM_WINDOW_BYTES, self.peer.window);
        stream.owner = Some(owner);
        stream.is_head = is_head;
        self.streams.add(stream);
        self.send_head(id, block, ends);
        Some(id)
    }

    /// Sends a head, as a field block. `ends`: nothing follows it on the stream.
    pub fn send_head(&mut self, id: u32, block: &[u8], ends: bool) {
        let is_sent = self.streams.change(id, |stream| {
            let may_send = stream.is_local_open && stream.reset.is_none();
            stream.is_local_open &= !(may_send && ends);
            may_send
        });
        if is_sent == Some(true) {
            self.write_block(id, block, ends);
            self.note_end(id);
        }
    }

    fn write_block(&mut self, id: u32, block: &[u8], ends: bool) {
        let mut prefix = Vec::new();
        if std::mem::take(&mut self.tells_no_table) {
            hpack::write_no_table(&mut prefix);
        }
        frame::write_block(id, &prefix, block, ends, &mut self.out);
        self.abuse.carried();
    }

    /// Has a piece of a body wait for [`Self::flush`] or [`Self::finish`].
    pub fn queue(&mut self, id: u32, chunk: Chunk) {
        match self.streams.get_mut(id) {
            Some(stream) if stream.is_local_open && stream.reset.is_none() && !chunk.is_empty() => {
                stream.queued += chunk.len();
                stream.queue.push_back(chunk);
            }
            _ => self.pool.give(chunk.into_parts().0),
        }
    }

    /// How many bytes of a stream have not been framed.
    pub fn queued(&self, id: u32) -> usize {
        self.streams.get(id).map_or(0, |stream| stream.queued)
    }

    /// Whether all of a stream has been framed, its end as well.
    pub fn is_sent(&self, id: u32) -> bool {
        self.streams.get(id).is_none_or(|stream| !stream.is_local_open)
    }

    /// Sends what waits on a stream, as far as windows and turns let it.
    pub fn flush(&mut self, id: u32) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if stream.queued > 0 && stream.send_window > 0 && !stream.is_in_ring {
            stream.is_in_ring = true;
            self.ring.push_back(id);
        }
        self.drive();
    }

    /// Ends a stream behind what waits on it: with trailers, as a field block, if there are any.
    pub fn finish(&mut self, id: u32, trailers: Option<Vec<u8>>) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if !stream.is_local_open || stream.reset.is_some() {
            return;
        }
        stream.finish = trailers.map_or(Finish::End, Finish::Trailers);
        match stream.queued {
            0 => self.write_end(id),
            _ => self.flush(id),
        }
    }

    /// Writes the end of a stream whose data has been framed.
    fn write_end(&mut self, id: u32) {
        let finish = self.streams.change(id, |stream| {
            stream.is_local_open = false;
            std::mem::take(&mut stream.finish)
        });
        match finish {
            Some(Finish::Trailers(block)) => self.write_block(id, &block, true),
            Some(Finish::End) => {
                frame::write_head(0, kind::DATA, flag::END_STREAM, id, &mut self.out);
            }
            _ => return,
        }
        self.note_end(id);
    }

    fn note_end(&mut self, id: u32) {
        if self.streams.get(id).is_some_and(|stream| !stream.is_open()) {
            self.abuse.stream_ended();
        }
    }

    /// Frames what waits, in turns.
    pub fn drive(&mut self) {
        while self.has_room() && self.send_window > 0 {
            let Some(id) = self.ring.pop_front() else { return };
            let Some(stream) = self.streams.get_mut(id) else { continue };
            stream.is_in_ring = false;
            if stream.reset.is_some() || stream.queued == 0 || stream.send_window <= 0 {
                continue;
            }
            self.frame_data(id);
        }
    }

    /// Writes one frame of a stream's data.
    fn frame_data(&mut self, id: u32) {
        let Self { streams, out, pool, .. } = self;
        let Some(stream) = streams.get_mut(id) else { return };
        let window = stream.send_window.min(self.send_window).max(0);
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        let length = stream.queued.min(window).min(PAYLOAD_BYTES_MAX);
        let is_all = length == stream.queued;
        let ends = is_all && matches!(stream.finish, Finish::End);
        let flags = if ends { flag::END_STREAM } else { 0 };
        frame::write_head(length, kind::DATA, flags, id, out);
        let mut left = length;
        while left > 0
            && let Some(chunk) = stream.queue.front()
        {
            let unsent = chunk.bytes().get(stream.sent_of_first..).unwrap_or_default();
            let piece = unsent.get(..left.min(unsent.len())).unwrap_or_default();
            out.extend_from_slice(piece);
            left -= piece.len();
            stream.sent_of_first += piece.len();
            if piece.len() == unsent.len()
                && let Some(chunk) = stream.queue.pop_front()
            {
                stream.sent_of_first = 0;
                pool.give(chunk.into_parts().0);
            }
        }
        stream.queued -= length;
        stream.send_window -= length as i64;
        self.send_window -= length as i64;
        if stream.queued > 0 && stream.send_window > 0 {
            stream.is_in_ring = true;
            self.ring.push_back(id);
        }
        if let Some(owner) = &stream.owner {
            owner.progressed();
        }
        let has_trailers = is_all && matches!(stream.finish, Finish::Trailers(_));
        self.abuse.carried();
        if ends {
            self.streams.change(id, |stream| stream.is_local_open = false);
            self.note_end(id);
        } else if has_trailers {
            self.write_end(id);
        }
    }

    /// So many bytes of a stream's data have been used: its peer may send as many more.
    pub fn used(&mut self, id: u32, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let most = self.options.stream_window;
        if let Some(stream) = self.streams.get_mut(id) {
            let bytes = bytes.min(stream.unused);
            stream.unused -= bytes;
            stream.credit += bytes;
            stream.used += u64::from(bytes);
            // Who uses what comes as it comes gets more of it at once.
            if stream.used > u64::from(stream.receive_window_max)
                && stream.receive_window_max < most
            {
                let more =
                    stream.receive_window_max.min(most.saturating_sub(stream.receive_window_max));
                stream.receive_window_max += more;
                stream.credit += more;
            }
            if stream.is_remote_open
                && stream.reset.is_none()
                && stream.credit >= stream.receive_window_max / 2
            {
                frame::write_window_update(id, stream.credit, &mut self.out);
                stream.receive_window += i64::from(stream.credit);
                stream.credit = 0;
            }
            self.credit_connection(bytes);
        }
    }

    /// So many bytes of the connection's window are free again.
    pub(super) fn credit_connection(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes);
        if self.credit >= self.options.connection_window / 2 {
            frame::write_window_update(0, self.credit, &mut self.out);
            self.receive_window += i64::from(self.credit);
            self.credit = 0;
        }
    }

    /// Nobody has the stream any more. If it is not over, it is reset with `code`.
    pub fn release(&mut self, id: u32, code: Code) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        let was_reset = stream.reset.is_some();
        let resets = stream.is_open() && !was_reset;
        for chunk in stream.queue.drain(..) {
            self.pool.give(chunk.into_parts().0);
        }
        let unused = stream.unused;
        if resets && !self.has_failed {
            frame::write_reset(id, code, &mut self.out);
        }
        if !was_reset {
            self.streams.note_ended(id, if resets { Ended::ByUs } else { Ended::Known });
        }
        self.streams.remove(id);
        self.credit_connection(unused);
    }
}
