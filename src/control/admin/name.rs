//! Plugins' names in paths: always text, and where a file is called after one, nothing that leads
//! anywhere else.

use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;

use super::reply::Failed;
use crate::limits::NAME_BYTES_MAX;

/// The `{name}` of a path, its escapes decoded.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let name = Path::<String>::from_request_parts(parts, state).await;
        name.map(|Path(name)| Self(name)).map_err(|_| {
            let reason = "the name in the path is not UTF-8 once its %-escapes are decoded";
            Failed::new(StatusCode::BAD_REQUEST, reason)
        })
    }
}

/// Whether a file may be called after a plugin: its name has no separator and is nothing that a
/// folder is called.
pub(super) fn check(name: &str) -> Result<(), Failed> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let is_name = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(allowed)
        && !name.starts_with('.');
    if is_name {
        return Ok(());
    }
    let name = name.chars().take(NAME_BYTES_MAX).collect::<String>();
    let name = name.escape_default();
    let most = NAME_BYTES_MAX;
    let reason =
        format!("got the name {name}, expected 1 to {most} of A-Z a-z 0-9 . _ -, no dot first");
    Err(Failed::new(StatusCode::BAD_REQUEST, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_leads_out_of_the_folder() {
        for name in ["a", "my-plugin_v1.0.0", "A", "-", "a..b"] {
            assert!(check(name).is_ok(), "{name}");
        }
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", ".hidden", "a/b", "../a", "a\\b", "a b", "a\0", "ä", &long] {
            assert!(check(name).is_err(), "{name:?}");
        }
    }
}
