//! Which service a request goes to: the one that fits best. A service fits when all of what it
//! names holds: its hosts, its base path, its methods, conditions on header fields and on the
//! query. Best is a host that is named over one that a wildcard covers over none, then the longest
//! base path, then a method that is named, then more conditions on fields, then on the query, then
//! the order of the file (the precedence of the Gateway API's HTTPRoute).
//!
//! Hosts lead to base paths by a hash, base paths to their services by another: what a request pays
//! does not grow with the number of services.

use ahash::AHashMap;

use super::matcher::Matcher;
use crate::http::message::RequestHead;
use crate::limits::{HOST_BYTES_MAX, PATHS_SCANNED_MAX};

/// Where requests go of one service. Immutable.
#[derive(Debug, Clone, Default)]
pub struct Rule<'a> {
    /// Its hosts, in lower case: `a.example`, `*.example`; none: any host.
    pub hosts: &'a [String],
    /// Its base path: normalised, without `/` at its end unless it is `/`.
    pub base_path: &'a str,
    /// What else a request must have.
    pub matcher: Matcher,
}

/// The routes of one snapshot. Immutable.
#[derive(Debug, Default)]
pub struct Table {
    /// Of those that are named.
    exact: AHashMap<Box<str>, Paths>,
    /// By what stands behind the `*.`.
    wildcards: AHashMap<Box<str>, Paths>,
    any: Paths,
}

/// The base paths of a host.
///
/// Invariant: sorted by length, longest first, so that the first one that fits is the best.
#[derive(Debug, Default)]
struct Paths {
    sorted: Vec<(Box<str>, Vec<Candidate>)>,
    /// Places in `sorted`; empty where there are so few that looking at each is cheaper.
    by_path: AHashMap<Box<str>, usize>,
    /// The most segments that one of them has.
    depth: usize,
}

/// A service of a base path; the best stands first.
#[derive(Debug)]
struct Candidate {
    service: usize,
    matcher: Matcher,
}

impl Table {
    /// A table of services, in the order of the file.
    pub fn new<'a>(rules: impl Iterator<Item = (Rule<'a>, usize)>) -> Self {
        let mut table = Self::default();
        for (rule, service) in rules {
            if rule.hosts.is_empty() {
                table.any.add(rule.base_path, Candidate { service, matcher: rule.matcher });
                continue;
            }
            for host in rule.hosts {
                let (hosts, name) = match host.strip_prefix("*.") {
                    Some(suffix) => (&mut table.wildcards, suffix),
                    None => (&mut table.exact, host.as_str()),
                };
                let candidate = Candidate { service, matcher: rule.matcher.clone() };
                hosts.entry(name.into()).or_default().add(rule.base_path, candidate);
            }
        }
        let all = table.exact.values_mut().chain(table.wildcards.values_mut());
        all.chain([&mut table.any]).for_each(Paths::finish);
        table
    }

    /// The service for a request, whose path is normalised.
    pub fn find(&self, request: &RequestHead) -> Option<usize> {
        if !self.exact.is_empty() || !self.wildcards.is_empty() {
            let mut room = [0; HOST_BYTES_MAX];
            if let Some(host) = host_of(&request.authority, &mut room)
                && let Some(service) = self.find_by_host(host, request)
            {
                return Some(service);
            }
        }
        self.any.find(request)
    }

    fn find_by_host(&self, host: &str, request: &RequestHead) -> Option<usize> {
        let exact = self.exact.get(host).and_then(|paths| paths.find(request));
        if exact.is_some() || self.wildcards.is_empty() {
            return exact;
        }
        // The longest wildcard first: `*.b.c` is closer to `a.b.c` than `*.c` is.
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            let found = self.wildcards.get(suffix).and_then(|paths| paths.find(request));
            if found.is_some() {
                return found;
            }
            rest = suffix;
        }
        None
    }
}

/// The host of an authority, in the one way of spelling it: without port and trailing dot, in lower
/// case. `None` if it is longer than any host.
pub fn host_of<'r>(authority: &str, room: &'r mut [u8; HOST_BYTES_MAX]) -> Option<&'r str> {
    let host = match authority.strip_prefix('[') {
        // An IPv6 address; the brackets stay, as configured hosts have them.
        Some(rest) => authority.get(..rest.find(']')? + 2)?,
        None => authority.split(':').next().unwrap_or_default(),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let room = room.get_mut(..host.len())?;
    room.copy_from_slice(host.as_bytes());
    room.make_ascii_lowercase();
    std::str::from_utf8(room).ok()
}

impl Paths {
    fn add(&mut self, base_path: &str, candidate: Candidate) {
        match self.by_path.get(base_path).and_then(|at| self.sorted.get_mut(*at)) {
            Some((_, candidates)) => candidates.push(candidate),
            None => {
                self.by_path.insert(base_path.into(), self.sorted.len());
                self.sorted.push((base_path.into(), vec![candidate]));
            }
        }
    }

    fn finish(&mut self) {
        self.sorted.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        for (_, candidates) in &mut self.sorted {
            // Stable: of equal ones that of the file's order.
            candidates.sort_by_key(|one| std::cmp::Reverse(one.matcher.rank()));
        }
        let depth = |path: &str| path.bytes().filter(|&byte| byte == b'/').count();
        self.depth = self.sorted.iter().map(|(path, _)| depth(path)).max().unwrap_or(0);
        self.by_path.clear();
        if self.sorted.len() > PATHS_SCANNED_MAX {
            let places = self.sorted.iter().enumerate();
            self.by_path = places.map(|(at, (path, _))| (path.clone(), at)).collect();
        }
    }

    fn find(&self, request: &RequestHead) -> Option<usize> {
        let path = request.path.as_str();
        if self.by_path.is_empty() {
            let mut under = self.sorted.iter().filter(|(base, _)| is_under(path, base));
            return under.find_map(|(_, candidates)| best(candidates, request));
        }
        self.find_by_hash(path, request)
    }

    /// Looks the path up, then what is left of it without its last segment, and so on; no deeper
    /// than the deepest base path.
    fn find_by_hash(&self, path: &str, request: &RequestHead) -> Option<usize> {
        let bytes = path.as_bytes();
        let mut borders = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        // Behind as many segments as a base path may have.
        let mut end = borders.nth(self.depth).map_or(bytes.len(), |(at, _)| at);
        loop {
            let base = path.get(..end.max(1))?;
            let found = self.by_path.get(base).and_then(|at| self.sorted.get(*at));
            if let Some(service) = found.and_then(|(_, candidates)| best(candidates, request)) {
                return Some(service);
            }
            if end <= 1 {
                return None;
            }
            end = bytes.get(..end)?.iter().rposition(|&byte| byte == b'/')?.max(1);
        }
    }
}

/// The first of the candidates that a request fits.
fn best(candidates: &[Candidate], request: &RequestHead) -> Option<usize> {
    candidates.iter().find(|one| one.matcher.fits(request)).map(|one| one.service)
}

/// Whether `path` is `base` or below it: `/api` has `/api` and `/api/x` under it, not `/apis`.
pub fn is_under(path: &str, base: &str) -> bool {
    match path.strip_prefix(base) {
        Some(rest) => rest.is_empty() || rest.starts_with('/') || base == "/",
        None => false,
    }
}

/// What is left of `path` without `base`; `/` if nothing is. A path that is not under it (a plugin
/// has changed it) stays whole.
pub fn strip<'a>(path: &'a str, base: &str) -> &'a str {
    match path.strip_prefix(base) {
        _ if base == "/" => path,
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests;
