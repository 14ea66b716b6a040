//! Which of several services a request of one goes to: what it says of itself first (canaries),
//! then by weight. Pure: randomness is an argument.

use std::net::IpAddr;

use super::matcher::Matcher;
use crate::http::cookie::cookie;
use crate::http::message::RequestHead;

/// `services[].split`. Immutable.
#[derive(Debug)]
pub struct Split {
    /// In the order of the file.
    pub branches: Vec<Branch>,
    /// What keeps a client with its branch.
    pub sticky: Option<Sticky>,
}

/// One of the services.
#[derive(Debug)]
pub struct Branch {
    /// Its place in the snapshot.
    pub service: usize,
    /// Its name.
    pub name: String,
    /// Its share of the requests beside the others; 0: none, but what `when` says.
    pub weight: u32,
    /// Requests that fit go here whatever the weights are: to the first that they fit.
    pub when: Option<Matcher>,
}

/// What keeps a client with its branch, as long as weights stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sticky {
    /// The value of this header field.
    Header(String),
    /// The value of this cookie, which the application sets.
    Cookie(String),
    /// The client's address.
    Address,
    /// A cookie of this name that the gateway sets; for so many seconds, or the browser's session.
    Set(String, Option<u64>),
}

/// What was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// A place in `branches`.
    pub branch: usize,
    /// The client is to be told of it (`Sticky::Set`).
    pub is_news: bool,
}

impl Split {
    /// The branch of a request of the client at `ip`.
    pub fn choose(
        &self,
        request: &RequestHead,
        ip: IpAddr,
        random: impl FnOnce() -> u64,
    ) -> Chosen {
        let is_meant =
            |branch: &Branch| branch.when.as_ref().is_some_and(|when| when.fits(request));
        if let Some(branch) = self.branches.iter().position(is_meant) {
            return Chosen { branch, is_news: false };
        }
        let fields = &request.fields;
        let stays = |bytes: &[u8]| self.at(spread(bytes));
        let kept = match &self.sticky {
            None => None,
            Some(Sticky::Header(name)) => fields.get(name).map(stays),
            Some(Sticky::Cookie(name)) => {
                cookie(fields.get_all("cookie"), name.as_bytes()).map(stays)
            }
            Some(Sticky::Address) => Some(match ip {
                IpAddr::V4(ip) => stays(&ip.octets()),
                IpAddr::V6(ip) => stays(&ip.octets()),
            }),
            Some(Sticky::Set(name, _)) => {
                let named = cookie(fields.get_all("cookie"), name.as_bytes());
                let is_it = |one: &Branch| one.weight > 0 && Some(one.name.as_bytes()) == named;
                self.branches.iter().position(is_it)
            }
        };
        let is_news = kept.is_none() && matches!(self.sticky, Some(Sticky::Set(..)));
        Chosen { branch: kept.unwrap_or_else(|| self.at(random())), is_news }
    }

    /// The sum of the weights.
    pub fn total(&self) -> u64 {
        self.branches.iter().map(|branch| u64::from(branch.weight)).sum()
    }

    /// The branch at this point of the whole range of numbers, of which each has its share.
    fn at(&self, point: u64) -> usize {
        // Less than the total: the shift takes the upper half of a product with less than 2^64.
        let mut left = ((u128::from(point) * u128::from(self.total())) >> 64) as u64;
        for (place, branch) in self.branches.iter().enumerate() {
            match left.checked_sub(u64::from(branch.weight)) {
                Some(rest) => left = rest,
                None => return place,
            }
        }
        0
    }
}

/// Where a key stands, over the whole range of numbers. Not the balancers' hash: of those who come
/// here together, they are to part what comes to each.
fn spread(bytes: &[u8]) -> u64 {
    let sum = bytes.iter().fold(0x9ae1_6a3b_2f90_404f_u64, |sum, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29)
    });
    let sum = (sum ^ sum >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let sum = (sum ^ sum >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    sum ^ sum >> 32
}

#[cfg(test)]
mod tests;
