//! Who the gateway is towards servers of modules: `modules.auth`, and a file of Docker's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::control::config::{Login, Modules, Secret, Shown};
use crate::files;
use crate::limits::MODULE_FILE_BYTES_MAX;

/// Logins by host; the first of a host counts.
#[derive(Debug)]
pub(super) struct Logins(Vec<Login>);

/// What Docker writes of logins (`docker login`), as far as it is of use.
#[derive(Deserialize)]
struct Docker {
    #[serde(default)]
    auths: std::collections::BTreeMap<String, DockerLogin>,
}

#[derive(Deserialize)]
struct DockerLogin {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    registrytoken: Option<String>,
}

impl Logins {
    /// Those of the configuration, and behind them those of the file that it names.
    pub(super) fn read(modules: &Modules) -> Result<Self, String> {
        let mut logins = modules.auth.clone();
        if let Some(path) = &modules.docker_config {
            let why = |why: String| format!("modules.dockerConfig: {}: {why}", path.display());
            let text = files::read(path, MODULE_FILE_BYTES_MAX).map_err(why)?;
            logins.extend(docker(&text).map_err(why)?);
        }
        Ok(Self(logins))
    }

    /// What this host is shown.
    pub(super) fn of(&self, host: &str) -> Option<&Shown> {
        self.0.iter().find(|login| login.host == host)?.shown.as_ref()
    }
}

fn docker(text: &[u8]) -> Result<Vec<Login>, String> {
    // Its words would show what stands there.
    let docker: Docker =
        serde_json::from_slice(text).map_err(|_| "is no configuration of Docker's".to_owned())?;
    let logins = docker.auths.into_iter().map(|(host, login)| {
        let host = host.trim_start_matches("https://").trim_start_matches("http://");
        let host = host.split('/').next().unwrap_or_default().to_ascii_lowercase();
        Login { host, shown: login.shown() }
    });
    // A host whose login a program of Docker's keeps has an empty entry.
    Ok(logins.filter(|login| login.shown.is_some()).collect())
}

impl DockerLogin {
    fn shown(self) -> Option<Shown> {
        if let Some(token) = self.registrytoken.filter(|token| !token.is_empty()) {
            return Some(Shown::Token(Secret::new(token)));
        }
        if let (Some(name), Some(password)) = (self.username, self.password) {
            return Some(Shown::Password(name, Secret::new(password)));
        }
        let auth = STANDARD.decode(self.auth?.trim()).ok()?;
        let text = String::from_utf8(auth).ok()?;
        let (name, password) = text.split_once(':')?;
        let password = password.trim_end_matches('\0').to_owned();
        Some(Shown::Password(name.to_owned(), Secret::new(password)))
    }
}

/// As a server is shown it that asks for no more than that.
pub(super) fn authorization(shown: &Shown) -> Option<HeaderValue> {
    let text = match shown {
        Shown::Password(name, password) => {
            format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.reveal())))
        }
        Shown::Token(token) => format!("Bearer {}", token.reveal()),
    };
    secret(&text)
}

/// A value that the client shows in no log.
pub(super) fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_of_docker_are_read_and_those_that_programs_keep_passed_over() {
        let text = br#"{"auths": {
            "https://Registry.example:5000/v1/": {"auth": "b2RpbjpzOmVjcmV0"},
            "kept.example": {}, "broken.example": {"auth": "!"},
            "token.example": {"registrytoken": "t", "auth": "b2RpbjpzOmVjcmV0"}},
            "credsStore": "desktop"}"#;
        let logins = Logins(docker(text).unwrap());
        let password =
            |name: &str, word: &str| Shown::Password(name.to_owned(), Secret::new(word.to_owned()));
        assert_eq!(logins.of("registry.example:5000"), Some(&password("odin", "s:ecret")));
        assert_eq!(logins.of("registry.example"), None);
        assert_eq!(logins.of("kept.example"), None);
        assert_eq!(logins.of("broken.example"), None);
        assert_eq!(logins.of("token.example"), Some(&Shown::Token(Secret::new("t".to_owned()))));
        let wrong = docker(b"{\"auths\": \"s3cret\"").unwrap_err();
        assert!(!wrong.contains("s3cret"), "{wrong}");
    }
}
