//! What is asked of a socket beside its reads and writes, before they begin.

#![expect(unsafe_code, reason = "descriptors are borrowed by number")]

use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, RawFd};

/// Copies what has come and no read has taken yet, without taking it; never waits. 0: nothing has;
/// `None`: nothing will, the connection has ended or broken.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn peek(fd: RawFd, bytes: &mut [u8]) -> Option<usize> {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let flags = rustix::net::RecvFlags::PEEK | rustix::net::RecvFlags::DONTWAIT;
    match rustix::net::recv(fd, bytes, flags) {
        Ok((0, _)) => None,
        Ok((count, _)) => Some(count),
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Some(0),
        Err(_) => None,
    }
}

/// Takes `count` bytes that [`peek`] has seen, and drops them.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn take_peeked(fd: RawFd, mut count: usize) -> Option<()> {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut piece = [0u8; 1024];
    while count > 0 {
        let most = count.min(piece.len());
        match rustix::net::recv(fd, &mut piece[..most], rustix::net::RecvFlags::DONTWAIT) {
            Ok((0, _)) => return None,
            Ok((taken, _)) => count -= taken,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// The address at this end of a socket; `None` for one that has none.
///
/// `fd` must belong to a live stream of this worker: callers hold a half of it.
pub fn local_address(fd: RawFd) -> Option<SocketAddr> {
    // SAFETY: the caller holds a half of the stream, so the descriptor is open during this call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    rustix::net::getsockname(fd).ok()?.try_into().ok()
}
