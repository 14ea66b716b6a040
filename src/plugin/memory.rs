//! The guest's memory as the host uses it: checked addresses, and room for what the host puts
//! there.
//!
//! The room comes from the guest's own allocator where it exports one. Else it is a region got by
//! growing the memory, which a heap that takes all memory for its own (Go's, AssemblyScript's)
//! would corrupt: `module` refuses those, by what `heap` sees in their code. What host functions
//! return stands in an `arena`.

mod arena;

use wasmtime::{AsContextMut, Memory, TypedFunc};

use super::failure::CallError;
use super::state::HostState;
use super::stats::ErrorKind;
use crate::limits;

pub(super) use arena::{Arena, reply, reserve as reserve_reply};

const PAGE_BYTES: u64 = 64 * 1024;

/// A piece of guest memory that belongs to the host.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Region {
    pub(super) address: u32,
    pub(super) bytes: u32,
}

/// How room is got in a module's memory; the order is the order of preference.
#[derive(Clone)]
pub(super) enum Allocator {
    /// `alloc(size)`, `allocate(size)` or `malloc(size)`.
    Sized { allocate: TypedFunc<i32, i32>, free: Free },
    /// The component model's `cabi_realloc(old, old size, alignment, size)`.
    Realloc(TypedFunc<(i32, i32, i32, i32), i32>),
    /// AssemblyScript's `__new(size, id)`; `__pin` keeps it from the collector.
    Collected {
        new: TypedFunc<(i32, i32), i32>,
        pin: Option<TypedFunc<i32, i32>>,
        unpin: Option<TypedFunc<i32, ()>>,
    },
    /// The module has none: pages of our own behind its memory.
    HostRegion,
}

/// How a buffer is given back that became too small.
#[derive(Clone)]
pub(super) enum Free {
    /// `free(address)`.
    Address(TypedFunc<i32, ()>),
    /// `dealloc(address, size)` or `deallocate(address, size)`.
    Sized(TypedFunc<(i32, i32), ()>),
    /// The module exports neither: the old buffer is lost. Doubling bounds the loss.
    Never,
}

/// AssemblyScript's runtime id of an `ArrayBuffer`: bytes that hold no references.
const ARRAY_BUFFER_ID: i32 = 1;

/// The bytes at `address`, if all of them lie in the memory.
pub(super) fn slice(memory: &[u8], address: u32, bytes: u32) -> Option<&[u8]> {
    let start = address as usize;
    memory.get(start..start.checked_add(bytes as usize)?)
}

/// Like [`slice`], to write to.
pub(super) fn slice_mut(memory: &mut [u8], address: u32, bytes: u32) -> Option<&mut [u8]> {
    let start = address as usize;
    memory.get_mut(start..start.checked_add(bytes as usize)?)
}

/// Writes `bytes` at `address`, if all of it lies in the memory.
pub(super) fn write(
    mut store: impl AsContextMut,
    memory: Memory,
    what: &str,
    address: u32,
    bytes: &[u8],
) -> Result<(), CallError> {
    let data = memory.data_mut(&mut store);
    let (length, size) = (bytes.len() as u32, data.len());
    slice_mut(data, address, length)
        .ok_or_else(|| out_of_bounds(what, address, length, size))?
        .copy_from_slice(bytes);
    Ok(())
}

/// What is said of an address that does not lie in the memory.
pub(super) fn out_of_bounds(what: &str, address: u32, bytes: u32, memory: usize) -> CallError {
    CallError::trap(format!(
        "{what}: {bytes} bytes at address {address} do not lie in the memory of {memory} bytes"
    ))
}

/// Makes `region` hold at least `bytes`, by doubling. What it held is lost.
pub(super) async fn reserve(
    mut store: impl AsContextMut<Data = HostState>,
    memory: Memory,
    region: Region,
    bytes: usize,
) -> Result<Region, CallError> {
    if bytes <= region.bytes as usize {
        return Ok(region);
    }
    let wanted = u32::try_from(bytes)
        .ok()
        .and_then(u32::checked_next_power_of_two)
        .filter(|&wanted| i32::try_from(wanted).is_ok())
        .ok_or_else(|| {
            let text = format!("failed to allocate memory: an input of {bytes} bytes");
            CallError::new(ErrorKind::Memory, text)
        })?
        .max(limits::PLUGIN_INPUT_BYTES_MIN);
    let allocator = store.as_context().data().allocator.clone();
    if let Allocator::HostRegion = allocator {
        return grow(store, memory, region, wanted);
    }
    release(&mut store, &allocator, region).await?;
    let address = allocate(&mut store, memory, &allocator, region, wanted).await?;
    Ok(Region { address, bytes: wanted })
}

/// Puts `bytes` and a NUL behind them into guest memory, for good: the values that host functions
/// return and that never change.
pub(super) async fn place(
    mut store: impl AsContextMut<Data = HostState>,
    memory: Memory,
    bytes: &[u8],
) -> Result<u32, CallError> {
    // Values come out of a configuration, which is far smaller than i32::MAX bytes.
    let length = bytes.len() as u32 + 1;
    let allocator = store.as_context().data().allocator.clone();
    let address = if let Allocator::HostRegion = allocator {
        let mut left = store.as_context().data().replies;
        if left.bytes < length {
            left = grow(&mut store, memory, Region::default(), length)?;
        }
        store.as_context_mut().data_mut().replies =
            Region { address: left.address + length, bytes: left.bytes - length };
        left.address
    } else {
        allocate(&mut store, memory, &allocator, Region::default(), length).await?
    };
    let size = memory.data_size(&store);
    let place = slice_mut(memory.data_mut(&mut store), address, length)
        .ok_or_else(|| out_of_bounds("a value for the plugin", address, length, size))?;
    place[..bytes.len()].copy_from_slice(bytes);
    place[bytes.len()] = 0;
    Ok(address)
}

/// Asks the guest's allocator; `old` is what `cabi_realloc` may reuse. The answer is checked.
async fn allocate(
    mut store: impl AsContextMut<Data = HostState>,
    memory: Memory,
    allocator: &Allocator,
    old: Region,
    bytes: u32,
) -> Result<u32, CallError> {
    // Guest sizes and addresses are u32 that wasm passes as i32; the callers keep to 31 bits.
    let size = bytes.cast_signed();
    // A host function that an allocator calls would call the allocator again, without end.
    let mut context = store.as_context_mut();
    if std::mem::replace(&mut context.data_mut().is_allocating, true) {
        return Err(CallError::trap(
            "the plugin's allocator calls a host function that needs the allocator",
        ));
    }
    let address = match allocator {
        Allocator::Sized { allocate, .. } => allocate.call_async(&mut store, size).await?,
        Allocator::Realloc(realloc) => {
            let old = (old.address.cast_signed(), old.bytes.cast_signed());
            realloc.call_async(&mut store, (old.0, old.1, 8, size)).await?
        }
        Allocator::Collected { new, pin, .. } => {
            let object = new.call_async(&mut store, (size, ARRAY_BUFFER_ID)).await?;
            match pin {
                Some(pin) => pin.call_async(&mut store, object).await?,
                None => object,
            }
        }
        Allocator::HostRegion => 0,
    };
    store.as_context_mut().data_mut().is_allocating = false;
    let address = address.cast_unsigned();
    if address == 0 {
        let text = format!("failed to allocate memory: the allocator gave none of {bytes} bytes");
        return Err(CallError::new(ErrorKind::Memory, text));
    }
    let size = memory.data_size(&store);
    if address as usize + bytes as usize > size {
        return Err(out_of_bounds("the plugin's allocator", address, bytes, size));
    }
    Ok(address)
}

async fn release(
    mut store: impl AsContextMut<Data = HostState>,
    allocator: &Allocator,
    region: Region,
) -> Result<(), CallError> {
    if region.bytes == 0 {
        return Ok(());
    }
    let address = region.address.cast_signed();
    let size = region.bytes.cast_signed();
    match allocator {
        Allocator::Sized { free, .. } => match free {
            Free::Address(free) => free.call_async(&mut store, address).await?,
            Free::Sized(free) => free.call_async(&mut store, (address, size)).await?,
            Free::Never => {}
        },
        Allocator::Collected { unpin: Some(unpin), .. } => {
            unpin.call_async(&mut store, address).await?
        }
        Allocator::Collected { unpin: None, .. }
        | Allocator::Realloc(_)
        | Allocator::HostRegion => {}
    }
    Ok(())
}

/// Makes the host's own region larger: in place if it still ends where the memory does.
fn grow(
    mut store: impl AsContextMut<Data = HostState>,
    memory: Memory,
    region: Region,
    wanted: u32,
) -> Result<Region, CallError> {
    let end = memory.data_size(&store) as u64;
    let at_the_end = region.bytes > 0 && u64::from(region.address) + u64::from(region.bytes) == end;
    let (start, have) =
        if at_the_end { (u64::from(region.address), u64::from(region.bytes)) } else { (end, 0) };
    let pages = (u64::from(wanted) - have).div_ceil(PAGE_BYTES);
    memory.grow(&mut store, pages)?;
    let bytes = have + pages * PAGE_BYTES;
    match (u32::try_from(start), u32::try_from(bytes)) {
        (Ok(address), Ok(bytes)) => Ok(Region { address, bytes }),
        _ => Err(out_of_bounds("the input", u32::MAX, wanted, end as usize)),
    }
}
