//! Room in guest memory for what host functions return.
//!
//! It belongs to the host: the guest copies what it keeps and frees nothing. What was returned
//! while the instance started (`_start`, `init`) stays as long as the instance; what was returned
//! during a call stays until the next one begins. The room is reused from call to call, so an
//! instance has as much of it as its hungriest call needed.

use wasmtime::{AsContextMut, Memory};

use super::super::failure::CallError;
use super::super::state::HostState;
use super::{Allocator, Region, allocate, grow, out_of_bounds, slice_mut};
use crate::limits;

/// What every reply is aligned to: structures of a C program are read in place.
const ALIGNMENT: u32 = 8;

/// The room of one instance.
#[derive(Debug, Default)]
pub(in super::super) struct Arena {
    chunks: Vec<Region>,
    at: Mark,
    /// Where the room for a call begins.
    kept: Mark,
}

/// A place in the room: a chunk, and how much of it is taken.
#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    chunk: usize,
    used: u32,
}

impl Arena {
    /// What has been returned so far stays.
    pub(in super::super) fn keep(&mut self) {
        self.kept = self.at;
    }

    /// A call begins: what the last one was given is over.
    pub(in super::super) fn rewind(&mut self) {
        self.at = self.kept;
    }

    /// Takes room that is there already.
    fn take(&mut self, bytes: u32) -> Option<u32> {
        while let Some(chunk) = self.chunks.get(self.at.chunk) {
            let start =
                chunk.address.checked_add(self.at.used)?.checked_next_multiple_of(ALIGNMENT)?;
            let end = start.checked_add(bytes)?;
            if end <= chunk.address.checked_add(chunk.bytes)? {
                self.at.used = end - chunk.address;
                return Some(start);
            }
            self.at = Mark { chunk: self.at.chunk + 1, used: 0 };
        }
        None
    }

    /// The size of the next chunk: doubling, so that many small replies need few of them.
    fn next_chunk(&self, bytes: u32) -> u32 {
        let last = self.chunks.last().map_or(0, |chunk| chunk.bytes);
        let usual = last.saturating_mul(2).min(limits::PLUGIN_REPLY_CHUNK_BYTES);
        let least = bytes.saturating_add(ALIGNMENT);
        least.max(usual).max(limits::PLUGIN_INPUT_BYTES_MIN)
    }
}

/// Puts a reply into guest memory; its address, never 0.
pub(in super::super) async fn reply(
    mut store: impl AsContextMut<Data = HostState>,
    memory: Memory,
    bytes: &[u8],
) -> Result<u32, CallError> {
    let length = u32::try_from(bytes.len())
        .map_err(|_| CallError::trap("a reply of more than 4 GiB".to_owned()))?;
    let address = reserve(&mut store, memory, length).await?;
    let size = memory.data_size(&store);
    slice_mut(memory.data_mut(&mut store), address, length)
        .ok_or_else(|| out_of_bounds("a reply", address, length, size))?
        .copy_from_slice(bytes);
    Ok(address)
}

/// Room for a reply; its address, never 0.
pub(in super::super) async fn reserve(
    mut store: impl AsContextMut<Data = HostState>,
    memory: Memory,
    bytes: u32,
) -> Result<u32, CallError> {
    // An empty reply has an address too: 0 means that there is none.
    let bytes = bytes.max(1);
    if let Some(address) = store.as_context_mut().data_mut().arena.take(bytes) {
        return Ok(address);
    }
    let wanted = store.as_context().data().arena.next_chunk(bytes);
    let allocator = store.as_context().data().allocator.clone();
    let chunk = match allocator {
        Allocator::HostRegion => grow(&mut store, memory, Region::default(), wanted)?,
        allocator => Region {
            address: allocate(&mut store, memory, &allocator, Region::default(), wanted).await?,
            bytes: wanted,
        },
    };
    let size = memory.data_size(&store);
    let mut context = store.as_context_mut();
    let arena = &mut context.data_mut().arena;
    arena.chunks.push(chunk);
    arena.take(bytes).ok_or_else(|| out_of_bounds("a reply", chunk.address, bytes, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(address: u32, bytes: u32) -> Region {
        Region { address, bytes }
    }

    #[test]
    fn room_is_reused_from_call_to_call_and_what_was_kept_is_not() {
        let mut arena = Arena::default();
        assert_eq!(arena.take(1), None);
        arena.chunks.push(chunk(1000, 64));
        assert_eq!(arena.take(5), Some(1000));
        arena.keep();
        for _ in 0..3 {
            arena.rewind();
            assert_eq!(arena.take(5), Some(1008));
            assert_eq!(arena.take(40), Some(1016));
            assert_eq!(arena.take(40), None);
        }
        arena.chunks.push(chunk(5003, 64));
        assert_eq!(arena.take(40), Some(5008));
        arena.rewind();
        // A small reply first fills the first chunk again.
        assert_eq!(arena.take(8), Some(1008));
    }

    #[test]
    fn chunks_double_and_hold_what_they_were_made_for() {
        let mut arena = Arena::default();
        assert_eq!(arena.next_chunk(1), limits::PLUGIN_INPUT_BYTES_MIN);
        arena.chunks.push(chunk(8, 32 * 1024));
        assert_eq!(arena.next_chunk(1), 64 * 1024);
        assert!(arena.next_chunk(1 << 20) > 1 << 20);
        assert_eq!(arena.next_chunk(u32::MAX), u32::MAX);
    }

    #[test]
    fn room_at_the_end_of_the_address_space_is_no_overflow() {
        let mut arena = Arena::default();
        arena.chunks.push(chunk(u32::MAX - 16, 16));
        assert_eq!(arena.take(u32::MAX), None);
    }
}
