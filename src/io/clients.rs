//! How many connections one client has, and how many it opens in a second: over all workers, and
//! only where `server.limits` bounds them.
//!
//! Two tables of fixed size, each slot a number that is changed whole: workers share them and never
//! wait. A client is known by a hash of its address whose key nobody outside knows. Where all slots
//! that it may have are others' it is not counted: `connectionsMax` bounds the whole all the same.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::Instant;

use crate::limits::{CLIENT_SLOTS, CLIENT_SLOTS_TRIED};

/// What a client is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It has as many connections as it may.
    Connections,
    /// It has opened as many in this second.
    Rate,
}

/// Bounds of each client, as configured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClientBounds {
    /// Connections at once.
    pub connections: Option<u32>,
    /// New connections in a second.
    pub per_second: Option<u16>,
}

/// All clients of the process.
#[derive(Debug)]
pub struct Clients {
    /// A tag of 40 bits, a count of 24.
    open: Box<[AtomicU64]>,
    /// A tag of 24 bits, a second of 24, a count of 16.
    new: Box<[AtomicU64]>,
    keys: RandomState,
    began: Instant,
}

impl Default for Clients {
    fn default() -> Self {
        let slots = || (0..CLIENT_SLOTS).map(|_| AtomicU64::new(0)).collect();
        Self { open: slots(), new: slots(), keys: RandomState::new(), began: Instant::now() }
    }
}

const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
const RATE_BITS: u32 = 16;
const RATE: u64 = (1 << RATE_BITS) - 1;
const SECOND: u64 = (1 << 24) - 1;

impl Clients {
    /// Counts a new connection of a client, until the value is dropped.
    ///
    /// # Errors
    /// The client has too many.
    pub fn enter(self: &Arc<Self>, client: IpAddr, bounds: ClientBounds) -> Result<Entered, Over> {
        let hash = self.keys.hash_one(network(client));
        if let Some(most) = bounds.per_second {
            let second = self.began.elapsed().as_secs() & SECOND;
            self.count_new(hash, second, u64::from(most))?;
        }
        let place = match bounds.connections {
            Some(most) => self.count_open(hash, u64::from(most))?,
            None => None,
        };
        Ok(Entered { clients: Arc::clone(self), place })
    }

    fn places(hash: u64) -> impl Iterator<Item = usize> {
        (0..CLIENT_SLOTS_TRIED).map(move |step| (hash as usize).wrapping_add(step) % CLIENT_SLOTS)
    }

    fn count_open(&self, hash: u64, most: u64) -> Result<Option<usize>, Over> {
        let tag = hash >> COUNT_BITS;
        'again: loop {
            let mut free = None;
            for place in Self::places(hash) {
                let slot = &self.open[place];
                let value = slot.load(Acquire);
                let count = value & COUNT;
                if count > 0 && value >> COUNT_BITS == tag {
                    if count >= most.min(COUNT) {
                        return Err(Over::Connections);
                    }
                    match slot.compare_exchange(value, value + 1, AcqRel, Acquire) {
                        Ok(_) => return Ok(Some(place)),
                        Err(_) => continue 'again,
                    }
                }
                if count == 0 && free.is_none() {
                    free = Some((place, value));
                }
            }
            let Some((place, value)) = free else { return Ok(None) };
            let new = (tag << COUNT_BITS) | 1;
            if self.open[place].compare_exchange(value, new, AcqRel, Acquire).is_ok() {
                return Ok(Some(place));
            }
        }
    }

    fn count_new(&self, hash: u64, second: u64, most: u64) -> Result<(), Over> {
        let (tag, now) = (hash >> 40, second << RATE_BITS);
        let held = (tag << 40) | now;
        'again: loop {
            let mut free = None;
            for place in Self::places(hash) {
                let slot = &self.new[place];
                let value = slot.load(Acquire);
                if value & !RATE == held && value & RATE > 0 {
                    if value & RATE >= most {
                        return Err(Over::Rate);
                    }
                    match slot.compare_exchange(value, value + 1, AcqRel, Acquire) {
                        Ok(_) => return Ok(()),
                        Err(_) => continue 'again,
                    }
                }
                let is_past = (value >> RATE_BITS) & SECOND != second || value & RATE == 0;
                if is_past && free.is_none() {
                    free = Some((place, value));
                }
            }
            let Some((place, value)) = free else { return Ok(()) };
            if self.new[place].compare_exchange(value, held | 1, AcqRel, Acquire).is_ok() {
                return Ok(());
            }
        }
    }
}

/// A connection that is counted.
#[derive(Debug)]
pub struct Entered {
    clients: Arc<Clients>,
    place: Option<usize>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // The slot is this client's for as long as its count is not 0.
            self.clients.open[place].fetch_sub(1, AcqRel);
        }
    }
}

/// Who counts as one client: an address, or of IPv6 the network of 64 bits that one is given.
fn network(client: IpAddr) -> u128 {
    match client.to_canonical() {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) | (1 << 127),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_bound_and_gives_back_what_it_closes() {
        let clients = Arc::new(Clients::default());
        let bounds = ClientBounds { connections: Some(2), per_second: None };
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let first = clients.enter(one, bounds).unwrap();
        let _second = clients.enter(one, bounds).unwrap();
        assert_eq!(clients.enter(one, bounds).unwrap_err(), Over::Connections);
        let _others = clients.enter(other, bounds).unwrap();
        drop(first);
        let _again = clients.enter(one, bounds).unwrap();
        assert_eq!(clients.enter(one, bounds).unwrap_err(), Over::Connections);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let clients = Arc::new(Clients::default());
        let bounds = ClientBounds { connections: Some(1), per_second: None };
        let _held = clients.enter("2001:db8::1".parse().unwrap(), bounds).unwrap();
        assert!(clients.enter("2001:db8::2".parse().unwrap(), bounds).is_err());
        assert!(clients.enter("2001:db8:0:1::1".parse().unwrap(), bounds).is_ok());
        let _held = clients.enter("192.0.2.1".parse().unwrap(), bounds).unwrap();
        assert!(clients.enter("::ffff:192.0.2.1".parse().unwrap(), bounds).is_err());
    }

    #[test]
    fn a_second_has_its_bound_and_the_next_one_too() {
        let clients = Clients::default();
        for second in [7, 8] {
            assert!((0..3).all(|_| clients.count_new(99, second, 3).is_ok()));
            assert_eq!(clients.count_new(99, second, 3), Err(Over::Rate));
            assert!(clients.count_new(1 << 50, second, 3).is_ok());
        }
    }

    #[test]
    fn who_has_opened_too_many_is_told_so_whatever_it_has_closed() {
        let clients = Arc::new(Clients::default());
        let bounds = ClientBounds { connections: Some(2), per_second: Some(3) };
        let (one, other) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        // Two seconds may be touched, hardly three.
        let outcomes: Vec<_> = (0..10).map(|_| clients.enter(one, bounds).err()).collect();
        assert!(outcomes[..3].iter().all(Option::is_none), "{outcomes:?}");
        assert!(outcomes.contains(&Some(Over::Rate)), "{outcomes:?}");
        assert!(clients.enter(other, bounds).is_ok());
    }

    #[test]
    fn who_finds_no_slot_is_not_counted() {
        let clients = Clients::default();
        for tag in 0..CLIENT_SLOTS_TRIED as u64 {
            assert!(clients.count_open(tag << COUNT_BITS, 1).unwrap().is_some());
        }
        assert_eq!(clients.count_open(99 << COUNT_BITS, 1), Ok(None));
    }

    #[test]
    fn threads_that_come_and_go_leave_nothing_behind() {
        let clients = Arc::new(Clients::default());
        let bounds = ClientBounds { connections: Some(3), per_second: None };
        let client = "192.0.2.1".parse().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..2000).for_each(|_| drop(clients.enter(client, bounds))));
            }
        });
        let all: Vec<_> = (0..3).map(|_| clients.enter(client, bounds)).collect();
        assert!(all.iter().all(Result::is_ok) && clients.enter(client, bounds).is_err());
    }
}
