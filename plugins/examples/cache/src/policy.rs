//! Whether an answer may be stored, and for how long (RFC 9111 sections 3 and 4.2).

use odin_plugin::{Headers, Response};

/// What the configuration says of it.
pub(crate) struct Policy {
    /// Seconds that an answer is used which does not say it itself.
    pub(crate) ttl: i64,
    pub(crate) statuses: Vec<u16>,
    pub(crate) body_bytes_max: usize,
}

impl Policy {
    /// For how many seconds an answer may be used; `None` if it may not be stored.
    pub(crate) fn lifetime(
        &self,
        response: &Response,
        has_credentials: bool,
        now: i64,
    ) -> Option<i64> {
        let headers = response.headers();
        let said = Directives::of(headers);
        let is_kept_back = said.no_store || said.no_cache || said.private;
        let is_personal = headers.get("set-cookie").is_some();
        let varies_always = headers.get_all("vary").any(|names| names.contains('*'));
        // What was asked for with credentials is one client's, unless the service says otherwise
        // (section 3.5).
        let is_shareable = said.public || said.s_maxage.is_some();
        if !self.statuses.contains(&response.status())
            || is_kept_back
            || is_personal
            || varies_always
            || (has_credentials && !is_shareable)
        {
            return None;
        }
        let age = headers.get("age").and_then(|age| age.parse::<i64>().ok()).unwrap_or(0);
        let said = said.s_maxage.or(said.max_age).map(|seconds| seconds.saturating_sub(age));
        let expires = || {
            // An invalid date, "0" in particular, is in the past (section 5.3).
            headers.get("expires").map(|date| unix_time(date).map_or(0, |at| at - now))
        };
        Some(said.or_else(expires).unwrap_or(self.ttl)).filter(|lifetime| *lifetime > 0)
    }
}

/// `Cache-Control`, as far as this cache goes by it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Directives {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age: Option<i64>,
    pub(crate) s_maxage: Option<i64>,
}

impl Directives {
    pub(crate) fn of(headers: &Headers) -> Self {
        let mut directives = Self::default();
        for directive in headers.get_all("cache-control").flat_map(|line| line.split(',')) {
            let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
            // A value that is no number counts as the shortest time.
            let seconds = || Some(value.trim().trim_matches('"').parse().unwrap_or(0));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" => directives.no_store = true,
                // `private="X"` and `no-cache="X"` concern one header only; taking them for the
                // whole is on the safe side.
                "no-cache" => directives.no_cache = true,
                "private" => directives.private = true,
                "public" => directives.public = true,
                "only-if-cached" => directives.only_if_cached = true,
                "max-age" => directives.max_age = seconds(),
                "s-maxage" => directives.s_maxage = seconds(),
                _ => {}
            }
        }
        directives
    }
}

/// The Unix time of an HTTP date (`Sun, 06 Nov 1994 08:49:37 GMT`, RFC 9110 section 5.6.7).
pub(crate) fn unix_time(date: &str) -> Option<i64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, rest) = date.split_once(", ")?;
    let mut parts = rest.split([' ', ':']);
    let mut number = || parts.next()?.parse::<i64>().ok();
    let day = number()?;
    let mut parts = rest.split([' ', ':']).skip(1);
    let name = parts.next()?;
    let month = i64::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let mut number = || parts.next()?.parse::<i64>().ok();
    let (year, hour, minute, second) = (number()?, number()?, number()?, number()?);
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar, counted in years that begin in March,
/// so that the leap day is a year's last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month = (month + 9) % 12;
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}
