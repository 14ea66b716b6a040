//! Base paths to services: the longest base path that matches on segment borders wins.

/// The routes of one snapshot. Immutable.
///
/// Invariant: sorted by length of the base path, longest first, so that the first match is the
/// best one. A gateway has tens of services; a scan over them touches one cache line each.
#[derive(Debug, Default)]
pub struct Table {
    routes: Vec<Route>,
}

#[derive(Debug)]
struct Route {
    base_path: Box<str>,
    service: usize,
}

impl Table {
    /// A table of `(base path, service)`. Base paths are normalised and have no `/` at their end
    /// unless they are `/`.
    pub fn new<'a>(base_paths: impl Iterator<Item = (&'a str, usize)>) -> Self {
        let mut routes: Vec<Route> = base_paths
            .map(|(base_path, service)| Route { base_path: base_path.into(), service })
            .collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.base_path.len()));
        Self { routes }
    }

    /// The service for a normalised path.
    pub fn find(&self, path: &str) -> Option<usize> {
        self.routes.iter().find(|route| is_under(path, &route.base_path)).map(|route| route.service)
    }
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
mod tests {
    use super::*;

    #[test]
    fn the_longest_base_path_on_a_segment_border_wins() {
        let table = Table::new([("/", 0), ("/api", 1), ("/api/users", 2)].into_iter());
        for (path, service) in [
            ("/", 0),
            ("/apis", 0),
            ("/api", 1),
            ("/api/", 1),
            ("/api/user", 1),
            ("/api/users", 2),
            ("/api/users/7", 2),
        ] {
            assert_eq!(table.find(path), Some(service), "{path}");
        }
        assert_eq!(Table::new([("/api", 1)].into_iter()).find("/other"), None);
    }

    #[test]
    fn stripping_leaves_a_path() {
        assert_eq!(strip("/api/users", "/api"), "/users");
        assert_eq!(strip("/api", "/api"), "/");
        assert_eq!(strip("/x", "/"), "/x");
        assert_eq!(strip("/apis", "/api"), "/apis");
        assert_eq!(strip("/x", "/api"), "/x");
    }
}
