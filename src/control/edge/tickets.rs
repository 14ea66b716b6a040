//! The keys of TLS tickets: with them a client's session goes on at every worker, over reloads,
//! and, because the next process gets them, over a binary upgrade.
//!
//! A ticket is the name of its key, a nonce, and the session's state in AES-256-GCM, to which the
//! name belongs (RFC 5077 section 4 has the scheme). A key makes tickets for some hours and reads
//! them for as long again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use rustls::server::ProducesTickets;
use serde::{Deserialize, Serialize};

use crate::limits::TICKET_KEY_TIME;

const NAME_BYTES: usize = 16;
const SECRET_BYTES: usize = 32;

/// A key, as it is told to the next process.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TicketKey {
    name: [u8; NAME_BYTES],
    secret: [u8; SECRET_BYTES],
    /// For how many seconds it has made tickets.
    age_s: u64,
}

/// Nothing that is logged shows what is in one.
impl std::fmt::Debug for TicketKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("TicketKey").field("age_s", &self.age_s).finish_non_exhaustive()
    }
}

impl TicketKey {
    fn new() -> Option<Self> {
        let (mut name, mut secret) = ([0; NAME_BYTES], [0; SECRET_BYTES]);
        rand::fill(&mut name).ok()?;
        rand::fill(&mut secret).ok()?;
        Some(Self { name, secret, age_s: 0 })
    }

    fn cipher(&self) -> Option<LessSafeKey> {
        UnboundKey::new(&AES_256_GCM, &self.secret).ok().map(LessSafeKey::new)
    }
}

struct Key {
    told: TicketKey,
    cipher: LessSafeKey,
    /// When it has begun to make tickets, as far as this process knows.
    since: Instant,
}

impl Key {
    fn of(told: TicketKey, now: Instant) -> Option<Self> {
        let age = Duration::from_secs(told.age_s);
        Some(Self { cipher: told.cipher()?, since: now.checked_sub(age).unwrap_or(now), told })
    }

    fn makes(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < TICKET_KEY_TIME
    }

    fn reads(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < 2 * TICKET_KEY_TIME
    }

    fn seal(&self, state: &[u8]) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut sealed = state.to_vec();
        let aad = Aad::from(self.told.name);
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        self.cipher.seal_in_place_append_tag(nonce_used, aad, &mut sealed).ok()?;
        Some([&self.told.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket.get(NAME_BYTES..)?.split_first_chunk::<NONCE_LEN>()?;
        let mut state = sealed.to_vec();
        let aad = Aad::from(self.told.name);
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let length = self.cipher.open_in_place(nonce, aad, &mut state).ok()?.len();
        state.truncate(length);
        Some(state)
    }
}

#[derive(Clone)]
struct Keys {
    current: Arc<Key>,
    last: Option<Arc<Key>>,
}

/// Makes tickets and reads them.
pub(super) struct Tickets {
    keys: ArcSwapOption<Keys>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Tickets {
    /// With these keys, the one that makes tickets first, or with a new one. `None`: the system has
    /// no randomness; then no session goes on.
    pub(super) fn new(told: &[TicketKey]) -> Option<Self> {
        let now = Instant::now();
        let mut keys = told.iter().filter_map(|told| Key::of(told.clone(), now)).map(Arc::new);
        let keys = match keys.next() {
            Some(current) => Keys { current, last: keys.next() },
            None => Keys { current: Arc::new(Key::of(TicketKey::new()?, now)?), last: None },
        };
        Some(Self { keys: ArcSwapOption::from_pointee(keys) })
    }

    /// The keys, the one that makes tickets first.
    pub(super) fn told(&self) -> Vec<TicketKey> {
        let now = Instant::now();
        let keys = self.keys.load();
        let keys = keys.iter().flat_map(|keys| [Some(&keys.current), keys.last.as_ref()]);
        let tell = |key: &Arc<Key>| TicketKey {
            age_s: now.saturating_duration_since(key.since).as_secs(),
            ..key.told.clone()
        };
        keys.flatten().filter(|key| key.reads(now)).map(tell).collect()
    }

    /// The key that makes tickets now.
    fn current(&self, now: Instant) -> Option<Arc<Key>> {
        let keys = self.keys.load_full()?;
        if keys.current.makes(now) {
            return Some(Arc::clone(&keys.current));
        }
        let new = Arc::new(Key::of(TicketKey::new()?, now)?);
        // If another worker was faster, it is its key.
        self.keys.rcu(|keys| match keys {
            Some(keys) if keys.current.makes(now) => Some(Arc::clone(keys)),
            keys => {
                let last = keys.as_ref().map(|keys| Arc::clone(&keys.current));
                Some(Arc::new(Keys { current: Arc::clone(&new), last }))
            }
        });
        self.keys.load().as_ref().map(|keys| Arc::clone(&keys.current))
    }

    fn seal_at(&self, state: &[u8], now: Instant) -> Option<Vec<u8>> {
        self.current(now)?.seal(state)
    }

    fn open_at(&self, ticket: &[u8], now: Instant) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let keys = keys.as_ref()?;
        let name = ticket.get(..NAME_BYTES)?;
        let named = [Some(&keys.current), keys.last.as_ref()].into_iter().flatten();
        named.filter(|key| key.told.name == name && key.reads(now)).find_map(|key| key.open(ticket))
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(2 * TICKET_KEY_TIME.as_secs()).unwrap_or(u32::MAX)
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_at(plain, Instant::now())
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.open_at(cipher, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_by_who_has_its_key_and_by_nobody_when_it_was_changed() {
        let tickets = Tickets::new(&[]).unwrap();
        let ticket = tickets.encrypt(b"state").unwrap();
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_ne!(tickets.encrypt(b"state").unwrap(), ticket, "each has a nonce of its own");
        assert_eq!(Tickets::new(&[]).unwrap().decrypt(&ticket), None);
        for at in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[at] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "{at}");
            assert_eq!(tickets.decrypt(&ticket[..at]), None, "{at}");
        }
    }

    #[test]
    fn keys_change_and_are_read_for_as_long_again() {
        let tickets = Tickets::new(&[]).unwrap();
        let begun = Instant::now();
        let first = tickets.seal_at(b"first", begun).unwrap();
        let later = begun + TICKET_KEY_TIME + Duration::from_secs(1);
        let second = tickets.seal_at(b"second", later).unwrap();
        assert_ne!(first[..NAME_BYTES], second[..NAME_BYTES]);
        assert_eq!(tickets.open_at(&first, later).as_deref(), Some(&b"first"[..]));
        let last = begun + 2 * TICKET_KEY_TIME + Duration::from_secs(1);
        assert_eq!(tickets.open_at(&first, last), None);
        assert_eq!(tickets.open_at(&second, last).as_deref(), Some(&b"second"[..]));
    }

    #[test]
    fn the_next_process_reads_what_this_one_has_made_and_says_nothing_of_it() {
        let here = Tickets::new(&[]).unwrap();
        let ticket = here.encrypt(b"state").unwrap();
        let text = serde_json::to_string(&here.told()).unwrap();
        let told: Vec<TicketKey> = serde_json::from_str(&text).unwrap();
        let there = Tickets::new(&told).unwrap();
        assert_eq!(there.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        assert_eq!(here.decrypt(&there.encrypt(b"new").unwrap()).as_deref(), Some(&b"new"[..]));
        assert!(!format!("{told:?}").contains("secret"));
    }
}
