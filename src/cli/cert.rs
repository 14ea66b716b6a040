//! What certificates cover and when they end.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use odin::control::terminal::out;
use odin::io::tls::certificate::Certificate;
use odin::text::rfc_3339;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::read;

const DAY: i64 = 86_400;

/// Tells what the certificates of these files say, in their order: of a chain, the one of the
/// server stands first. Fails if one does not hold now.
pub(crate) fn tell(files: &[PathBuf]) -> Result<ExitCode, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() as i64;
    let mut all_hold = true;
    for file in files {
        for certificate in certificates(file)? {
            out(format_args!("{}: {}", file.display(), certificate.subject));
            for (what, text) in parts(&certificate, now) {
                out(format_args!("  {what:<12} {text}"));
            }
            all_hold &= (certificate.not_before..=certificate.not_after).contains(&now);
        }
    }
    Ok(if all_hold { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn certificates(file: &Path) -> Result<Vec<Certificate>, String> {
    let bytes = read(file)?;
    let broken = |why: &str| format!("{}: {why}", file.display());
    let mut found = Vec::new();
    for der in CertificateDer::pem_slice_iter(&bytes) {
        let der = der.map_err(|error| broken(&format!("is no PEM: {error}")))?;
        let read = Certificate::read(&der);
        found.push(read.ok_or_else(|| broken("has a CERTIFICATE that is none"))?);
    }
    if found.is_empty() {
        return Err(broken(
            "has no certificate; give a PEM file with BEGIN CERTIFICATE (of DER: openssl x509 \
             -inform der -in FILE -out FILE.pem)",
        ));
    }
    Ok(found)
}

fn parts(certificate: &Certificate, now: i64) -> Vec<(&'static str, String)> {
    let hosts = match certificate.hosts.is_empty() {
        true => "no host".to_owned(),
        false => certificate.hosts.join(", "),
    };
    let other: Vec<&str> = certificate.names.iter().map(String::as_str).collect();
    let other: Vec<&str> = other.into_iter().filter(|name| !name.starts_with("DNS:")).collect();
    let mut parts = vec![("covers", hosts)];
    if !other.is_empty() {
        parts.push(("also", other.join(", ")));
    }
    parts.extend([
        ("key", certificate.key.clone()),
        ("from", begins(certificate, now)),
        ("until", ends(certificate, now)),
        ("issued by", certificate.issuer.clone()),
        ("fingerprint", certificate.fingerprint.clone()),
    ]);
    if certificate.is_ca {
        parts.push(("may issue", "others: it is an authority's".to_owned()));
    }
    parts
}

fn begins(certificate: &Certificate, now: i64) -> String {
    let time = time(certificate.not_before);
    if certificate.not_before > now { format!("{time}: not valid yet") } else { time }
}

fn ends(certificate: &Certificate, now: i64) -> String {
    let time = time(certificate.not_after);
    let left = certificate.not_after.saturating_sub(now);
    let days = left.unsigned_abs() / DAY as u64;
    let unit = if days == 1 { "day" } else { "days" };
    match left < 0 {
        true => format!("{time}: it ended {days} {unit} ago"),
        false => format!("{time}: in {days} {unit}"),
    }
}

fn time(seconds: i64) -> String {
    let mut text = Vec::new();
    let since = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    rfc_3339(UNIX_EPOCH + since, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}
