//! `odin-cli run --tls`: an issuer and a certificate of its, made on the spot and gone with the
//! run.

use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use odin::control::terminal::err;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

/// Files in a folder that nobody else can read; removed with the value.
pub(crate) struct Certificates {
    folder: PathBuf,
    /// Whom a client is to trust.
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl Certificates {
    /// Makes them for `localhost`, this machine's own addresses, and the host of `listen`.
    pub(crate) fn make(listen: &str) -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("odin-cli-tls-{}", std::process::id()));
        let words = |error: std::io::Error| format!("{}: {error}", folder.display());
        DirBuilder::new().mode(0o700).create(&folder).map_err(words)?;
        let path = |name: &str| folder.join(name);
        let made =
            Self { ca: path("ca.pem"), cert: path("cert.pem"), key: path("key.pem"), folder };
        let (ca, cert, key) = issue(listen).map_err(|error| format!("no certificate: {error}"))?;
        for (path, text) in [(&made.ca, ca), (&made.cert, cert), (&made.key, key)] {
            write(path, &text)?;
        }
        Ok(made)
    }

    /// The listener, as the configuration has it.
    pub(crate) fn listener(&self, listen: &str) -> Value {
        let certificate = json!({"cert": self.cert, "key": self.key});
        json!([{"address": listen, "tls": {"certificates": [certificate]}}])
    }

    /// Says how it is asked.
    pub(crate) fn tell(&self, listen: &str) {
        let port = match listen.rsplit_once(':') {
            // The kernel chooses: it stands in the line that says where this listens.
            Some((_, "0")) => "PORT",
            Some((_, port)) => port,
            None => "8080",
        };
        err(format_args!(
            "odin-cli: a certificate for localhost was made for this run; ask by\n  \
             curl --cacert {} https://localhost:{port}/",
            self.ca.display()
        ));
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // Whoever cannot remove them leaves a key that nobody trusts any more.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| format!("{}: {error}", path.display()))
}

/// An issuer's certificate, one of its for a server, and the key of that.
fn issue(listen: &str) -> Result<(String, String, String), rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let host = listen.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_any = host.parse::<IpAddr>().is_ok_and(|address| address.is_unspecified());
    if !host.is_empty() && !is_any && !names.iter().any(|name| name == host) {
        names.push(host.to_owned());
    }
    let mut issuer = CertificateParams::new(Vec::new())?;
    issuer.distinguished_name.push(DnType::CommonName, "odin-cli run --tls");
    issuer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let issuer_key = KeyPair::generate()?;
    let ca = issuer.self_signed(&issuer_key)?.pem();
    let mut server = CertificateParams::new(names)?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let key = KeyPair::generate()?;
    let issuer = Issuer::new(issuer, issuer_key);
    let cert = server.signed_by(&key, &issuer)?.pem();
    Ok((ca, cert, key.serialize_pem()))
}
