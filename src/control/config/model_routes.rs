//! What a configuration file says of which requests are a service's, and what becomes of their
//! paths and header fields.

use crate::http::message::Method;
use crate::route::edit::Redirect;
use crate::route::split::Sticky;

/// `services[].hosts`, `methods`, `match`, `redirect`, `rewrite`, `requestHeaders` and
/// `responseHeaders`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// In lower case, without a dot at their ends: `a.example`, `*.example`; none: any host.
    pub hosts: Vec<String>,
    /// None: any method.
    pub methods: Vec<Method>,
    /// Conditions on header fields.
    pub headers: Vec<Condition>,
    /// Conditions on cookies.
    pub cookies: Vec<Condition>,
    /// Conditions on parameters of the query.
    pub query: Vec<Condition>,
    /// Where clients are sent instead.
    pub redirect: Option<Redirect>,
    /// What becomes of the path.
    pub rewrite: Option<Rewrite>,
    /// To which services its requests go.
    pub split: Option<Split>,
    /// To which service copies of its requests go.
    pub mirror: Option<Mirror>,
    /// No request comes to it by itself: other services send theirs.
    pub is_internal: bool,
    /// What becomes of requests' header fields.
    pub request_headers: HeaderEdit,
    /// What becomes of responses' header fields.
    pub response_headers: HeaderEdit,
}

/// `services[].split` and `sticky`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// In the order of the file; their weights are not all 0.
    pub branches: Vec<Branch>,
    /// What keeps a client with its branch.
    pub sticky: Option<Sticky>,
}

/// `services[].mirror`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The name of another service, with targets of its own.
    pub service: String,
    /// So many of the requests, of [`crate::route::mirror::WHOLE`].
    pub share: u32,
}

/// One of `services[].split`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// The name of a service that does not split itself.
    pub service: String,
    /// Its share of the requests: 0 to [`crate::limits::SPLIT_WEIGHT_MAX`].
    pub weight: u32,
    /// Requests that go there whatever the weights are: only conditions are in it.
    pub when: Option<Routes>,
}

/// A condition on something that has a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// The name; that of a header in lower case.
    pub name: String,
    /// What its value must be.
    pub test: Test,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Test {
    /// This.
    Is(String),
    /// Something in which this expression finds something.
    Has(String),
    /// There.
    IsThere,
}

/// `services[].rewrite`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rewrite {
    /// This in the place of the base path.
    Prefix(String),
    /// An expression, and what takes the place of what it finds.
    Pattern(String, String),
}

/// Operations on header fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdit {
    /// Names and values in the place of those that were there.
    pub set: Vec<(String, String)>,
    /// Names and values beside them.
    pub add: Vec<(String, String)>,
    /// Names.
    pub remove: Vec<String>,
}

impl HeaderEdit {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

impl Routes {
    /// Whether a request that fits `other`, of the same path, always fits this too, which is the
    /// better one or stands before it: `other` would never be asked.
    pub fn hides(&self, other: &Self) -> bool {
        let sorted = |list: &[Condition]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        let has_methods = match (self.methods.is_empty(), other.methods.is_empty()) {
            (true, true) => true,
            (false, false) => other.methods.iter().all(|one| self.methods.contains(one)),
            _ => false,
        };
        has_methods
            && sorted(&self.headers) == sorted(&other.headers)
            && sorted(&self.cookies) == sorted(&other.cookies)
            && sorted(&self.query) == sorted(&other.query)
    }
}
