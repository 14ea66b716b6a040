//! What a certificate says: read, not judged. Whoever relies on it has verified it.

use sha2::{Digest, Sha256};
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::limits::CERTIFICATE_NAMES_MAX;
use crate::text::hex;

/// The parts of a certificate that are told or chosen by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The subject's distinguished name.
    pub subject: String,
    /// The issuer's.
    pub issuer: String,
    /// SHA-256 of the whole, in hexadecimal.
    pub fingerprint: String,
    /// The alternative names, such as `DNS:a.example`; at most [`CERTIFICATE_NAMES_MAX`].
    pub names: Vec<String>,
    /// The hosts that it is for, in small letters: of the alternative names, or, where there are
    /// none, the subject's common name.
    pub hosts: Vec<String>,
    /// From when on it holds, in seconds since 1970.
    pub not_before: i64,
    /// Until when it holds, in seconds since 1970.
    pub not_after: i64,
    /// Whether it may issue others.
    pub is_ca: bool,
    /// What its key is, such as `EC 256 bit`.
    pub key: String,
}

impl Certificate {
    /// Reads one; `None`: it is none.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        let general = parsed.extensions().iter().find_map(|one| match one.parsed_extension() {
            ParsedExtension::SubjectAlternativeName(names) => Some(&*names.general_names),
            _ => None,
        });
        let general = general.unwrap_or_default();
        let names: Vec<String> =
            general.iter().filter_map(name).take(CERTIFICATE_NAMES_MAX).collect();
        let mut hosts: Vec<String> = general
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(host) => Some(host.to_ascii_lowercase()),
                _ => None,
            })
            .take(CERTIFICATE_NAMES_MAX)
            .collect();
        if general.is_empty() {
            let common = parsed.subject().iter_common_name();
            let common = common.filter_map(|name| name.as_str().ok());
            hosts.extend(common.map(str::to_ascii_lowercase).take(CERTIFICATE_NAMES_MAX));
        }
        let key = match parsed.public_key().parsed() {
            Ok(x509_parser::public_key::PublicKey::RSA(key)) => {
                format!("RSA {} bit", key.key_size())
            }
            Ok(x509_parser::public_key::PublicKey::EC(point)) => {
                format!("EC {} bit", point.key_size())
            }
            _ => parsed.public_key().algorithm.algorithm.to_id_string(),
        };
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            fingerprint: hex(&Sha256::digest(der)),
            names,
            hosts,
            not_before: parsed.validity().not_before.timestamp(),
            not_after: parsed.validity().not_after.timestamp(),
            is_ca: parsed.is_ca(),
            key,
        })
    }
}

/// An alternative name in the words of openssl; `None` for kinds that nobody uses.
fn name(name: &GeneralName<'_>) -> Option<String> {
    Some(match name {
        GeneralName::DNSName(host) => format!("DNS:{host}"),
        GeneralName::RFC822Name(mail) => format!("email:{mail}"),
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::IPAddress(bytes) => {
            let ip: std::net::IpAddr = match bytes.len() {
                4 => <[u8; 4]>::try_from(*bytes).ok()?.into(),
                _ => <[u8; 16]>::try_from(*bytes).ok()?.into(),
            };
            format!("IP:{ip}")
        }
        GeneralName::DirectoryName(name) => format!("DirName:{name}"),
        _ => return None,
    })
}
