//! Where a plugin's module is that is no file of this machine: `https://host/x.wasm`, or
//! `oci://registry/repository:tag`, as registries of container images have them (OCI Distribution
//! Specification).
//!
//! Nothing is asked here: what is fetched, and how it is held against its digest, is the work of
//! `control::modules`.

use reqwest::Url;

use crate::limits::{MODULE_REFERENCE_BYTES_MAX, MODULE_URL_BYTES_MAX};

/// What a path looks like that is no file.
const FORM: &str = "https://host/path/x.wasm or oci://registry/repository:tag";

/// A module on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remote {
    /// At a URL of HTTPS; of plain HTTP where `modules.plainHttp` or a loopback address allows it.
    Web(Url),
    /// In a registry.
    Registry(Reference),
}

/// `registry/repository:tag@sha256:digest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// `host` or `host:port`.
    pub registry: String,
    /// Path of lower-case names.
    pub repository: String,
    /// What people call it. It may be moved, so no node goes by it.
    pub tag: Option<String>,
    /// `sha256:` and 64 digits: of its manifest, which never changes.
    pub manifest: Option<String>,
}

impl Remote {
    /// Reads a path; `None` for one that is a file's.
    ///
    /// # Errors
    /// It begins as one of another machine and goes on as none: what was got, and the form.
    pub fn of(path: &str) -> Option<Result<Self, String>> {
        if let Some(rest) = path.strip_prefix("oci://") {
            return Some(rest.parse().map(Self::Registry));
        }
        let is_web = path.starts_with("https://") || path.starts_with("http://");
        let has_scheme = || {
            let scheme = path.split_once("://").map(|(scheme, _)| scheme);
            scheme.is_some_and(|scheme| {
                scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !scheme.is_empty()
            })
        };
        match is_web {
            true => Some(web(path).map(Self::Web)),
            false if has_scheme() => {
                Some(Err(format!("a file, {FORM}; no other scheme is spoken")))
            }
            false => None,
        }
    }

    /// The machine that has it, with the port if that is not the scheme's own.
    pub fn host(&self) -> String {
        match self {
            Self::Web(url) => authority(url),
            Self::Registry(reference) => reference.registry.clone(),
        }
    }
}

/// `host`, or `host:port` where the port is not the scheme's own.
pub fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// As logs and answers show it: what stands behind a `?` may be a signature that opens it.
impl std::fmt::Display for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Web(url) => {
                write!(f, "{}://{}{}", url.scheme(), authority(url), url.path())?;
                if url.query().is_some() { f.write_str("?***") } else { Ok(()) }
            }
            Self::Registry(reference) => write!(f, "oci://{reference}"),
        }
    }
}

impl std::fmt::Display for Reference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.manifest.iter().try_for_each(|manifest| write!(f, "@{manifest}"))
    }
}

fn web(path: &str) -> Result<Url, String> {
    let why = |why: &str| format!("a URL such as https://host/path/x.wasm; {why}");
    if path.len() > MODULE_URL_BYTES_MAX {
        return Err(why(&format!("at most {MODULE_URL_BYTES_MAX} bytes")));
    }
    let url = Url::parse(path).map_err(|error| why(&error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(why("credentials belong to modules.auth, where nobody sees them"));
    }
    if url.fragment().is_some() {
        return Err(why("nothing behind a # is ever asked for"));
    }
    Ok(url)
}

impl std::str::FromStr for Reference {
    type Err = String;

    /// Reads what follows `oci://`.
    fn from_str(text: &str) -> Result<Self, String> {
        let why = |why: &str| {
            format!(
                "oci://registry/repository:tag, as in oci://registry.example/team/auth:1; {why}"
            )
        };
        if text.len() > MODULE_REFERENCE_BYTES_MAX {
            return Err(why(&format!("at most {MODULE_REFERENCE_BYTES_MAX} bytes")));
        }
        let (named, manifest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        let (registry, rest) =
            named.split_once('/').ok_or_else(|| why("the repository is missing"))?;
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (rest, None),
        };
        if !is_host(registry) {
            return Err(why("the registry is a host, or host:port"));
        }
        if !repository.split('/').all(is_name) {
            return Err(why("a repository is of a-z, 0-9 and single . _ - between them, with /"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(why("a tag is of A-Z a-z 0-9 . _ -, at most 128"));
        }
        let is_digest = |digest: &str| {
            let hex = digest.strip_prefix("sha256:").unwrap_or_default();
            hex.len() == 64 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if manifest.is_some_and(|digest| !is_digest(digest)) {
            return Err(why("behind the @ stands sha256: and 64 digits"));
        }
        Ok(Self {
            registry: registry.to_ascii_lowercase(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            manifest: manifest.map(str::to_owned),
        })
    }
}

/// `host`, `host:port`, `[::1]:port`.
pub(super) fn is_host(text: &str) -> bool {
    // One that a URL has in the same words, but for their case.
    let url = Url::parse(&format!("https://{text}/"));
    url.is_ok_and(|url| {
        let port = text.rsplit_once(':').filter(|_| !text.ends_with(']'));
        let is_port = port.is_none_or(|(_, port)| port.parse::<u16>().is_ok_and(|port| port > 0));
        let host = port.map_or(text, |(host, _)| host);
        is_port && url.host_str().is_some_and(|parsed| parsed.eq_ignore_ascii_case(host))
    })
}

/// A part of a repository (OCI Distribution Specification, "Pulling manifests"): letters and digits
/// with `.`, `_`, `__` or any number of `-` between them.
fn is_name(part: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = part.as_bytes();
    let ends =
        bytes.first().is_some_and(|b| is_letter(*b)) && bytes.last().is_some_and(|b| is_letter(*b));
    let separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_separator =
        |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|byte| byte == b'-');
    ends && separators.into_iter().all(is_separator)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = tag.bytes();
    tag.len() <= 128
        && bytes.next().is_some_and(is_word)
        && bytes.all(|byte| is_word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(text: &str) -> Result<Reference, String> {
        text.parse()
    }

    #[test]
    fn a_path_is_a_file_unless_it_names_a_scheme() {
        for file in ["x.wasm", "/opt/x.wasm", "https/x.wasm", "a:b.wasm", "://x", "C:\\x"] {
            assert_eq!(Remote::of(file), None, "{file}");
        }
        for wrong in ["ftp://h/x.wasm", "file:///x.wasm", "s3://b/x", "HTTPS://h/x"] {
            assert!(Remote::of(wrong).unwrap().unwrap_err().contains("no other scheme"), "{wrong}");
        }
        let web = Remote::of("https://h:8443/a/x.wasm?token=s3cret").unwrap().unwrap();
        assert_eq!(web.host(), "h:8443");
        assert_eq!(web.to_string(), "https://h:8443/a/x.wasm?***");
        for wrong in ["https://", "https://u:p@h/x.wasm", "https://h/x#y", "https://h:99999/x"] {
            assert!(Remote::of(wrong).unwrap().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_reference_is_registry_repository_tag_and_digest() {
        let hex = "0".repeat(64);
        let full = format!("Registry.example:5000/team/a__b-c.d:1.2-x@sha256:{hex}");
        let read = reference(&full).unwrap();
        assert_eq!(read.registry, "registry.example:5000");
        assert_eq!(read.repository, "team/a__b-c.d");
        assert_eq!(read.tag.as_deref(), Some("1.2-x"));
        assert_eq!(read.manifest, Some(format!("sha256:{hex}")));
        assert_eq!(read.to_string(), full.to_ascii_lowercase());
        assert_eq!(reference("[::1]:5000/a").unwrap().registry, "[::1]:5000");
        assert_eq!(reference("h/a").unwrap().tag, None);
        let wrong = [
            "h",
            "/a",
            "h/",
            "h//a",
            "h/A",
            "h/a.",
            "h/a..b",
            "h/a___b",
            "h/a:",
            "h/a:.x",
            "h/a@sha256:00",
            "h:x/a",
            "h:0/a",
            "u@h/a",
            "h/a b",
            "h/../a",
            "h?x/a",
        ];
        for text in wrong {
            assert!(reference(text).is_err(), "{text}");
        }
    }

    /// Whatever is read is shown as what it was read from, and leads to one machine.
    #[test]
    fn no_variation_of_a_path_is_read_as_something_else() {
        let seeds =
            ["oci://reg.example:5000/team/a:1@sha256:00", "https://h:1/x?y#z", "oci://[::1]/a"];
        let nasty = b"/:@#?%[].\\ \0\xc3\xa9-_~aZ0";
        let mut random = 1_u64;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        for round in 0..20_000 {
            let mut bytes = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..=below(4) {
                let at = below(bytes.len());
                match below(3) {
                    0 => bytes[at] = nasty[below(nasty.len())],
                    1 => bytes.insert(at, nasty[below(nasty.len())]),
                    _ => drop(bytes.remove(at)),
                }
            }
            let text = String::from_utf8_lossy(&bytes);
            if let Some(Ok(Remote::Registry(read))) = Remote::of(&text) {
                assert_eq!(format!("oci://{read}").to_ascii_lowercase(), text.to_ascii_lowercase());
                let url =
                    Url::parse(&format!("https://{}/v2/{}/x", read.registry, read.repository));
                let url = url.unwrap();
                assert_eq!(authority(&url), read.registry.trim_end_matches(":443"), "{text}");
                assert_eq!(url.path(), format!("/v2/{}/x", read.repository), "{text}");
            }
        }
    }
}
