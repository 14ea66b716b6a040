//! Certificates and keys from files: each mistake with what mends it, and never a byte of a key.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::super::config::CertificateFiles;
use crate::files;
use crate::io::tls::certificate::Certificate;
use crate::limits::TLS_FILE_BYTES_MAX;

/// A certificate and its key.
pub(super) struct Loaded {
    pub(super) certificate: Certificate,
    pub(super) key: Arc<CertifiedKey>,
}

/// Reads one of `certificates`.
///
/// # Errors
/// Words that follow its key: which of its files, and what is wrong with it.
pub(super) fn load(from: &CertificateFiles, provider: &CryptoProvider) -> Result<Loaded, String> {
    let cert = |reason: String| format!("cert: {}: {reason}", from.cert.display());
    let key = |reason: String| format!("key: {}: {reason}", from.key.display());
    let chain = certificates(&from.cert).map_err(cert)?;
    let parsed: Option<Vec<Certificate>> = chain.iter().map(|der| Certificate::read(der)).collect();
    let parsed = parsed.ok_or_else(|| cert("holds what is no X.509 certificate".to_owned()))?;
    let secret = secret(&from.key).map_err(key)?;
    let signer = provider.key_provider.load_private_key(secret).map_err(|_| {
        key("is no key that TLS can use: RSA of 2048 bits or more, EC P-256, P-384 or P-521, \
             Ed25519"
            .to_owned())
    })?;
    let own = CertifiedKey::new(chain.clone(), Arc::clone(&signer));
    if let Err(error) = own.keys_match() {
        let of = chain.iter().skip(1).position(|der| {
            CertifiedKey::new(vec![der.clone()], Arc::clone(&signer)).keys_match().is_ok()
        });
        return Err(match (error, of) {
            (_, Some(at)) => cert(format!(
                "its certificates are in the wrong order: that of the key is number {}; put it \
                 first, then those that issued it",
                at + 2
            )),
            (rustls::Error::InconsistentKeys(_), None) => key(format!(
                "does not belong to the certificate in {} ({}): give the key that this was made \
                 with",
                from.cert.display(),
                parsed[0].subject
            )),
            (error, None) if format!("{error:?}").contains("UnsupportedCertVersion") => cert(
                "is of X.509 version 1, which names no hosts: make one of version 3, with \
                      its hosts as subjectAltName (openssl x509 -extfile)"
                    .to_owned(),
            ),
            (error, None) => cert(format!("cannot be used: {error}")),
        });
    }
    let mut own = own;
    if let Some(path) = &from.ocsp {
        own.ocsp = Some(ocsp(path).map_err(|why| format!("ocsp: {}: {why}", path.display()))?);
    }
    let certificate = parsed.into_iter().next().ok_or_else(|| cert("is empty".to_owned()))?;
    Ok(Loaded { certificate, key: Arc::new(own) })
}

/// What is odd about one that fits, each beginning with the key that it is about.
pub(super) fn doubts(
    files: &CertificateFiles,
    loaded: &Loaded,
    now: i64,
) -> impl Iterator<Item = String> {
    let Certificate { subject, hosts, not_before, not_after, .. } = &loaded.certificate;
    let cert = files.cert.display();
    let mut doubts = Vec::new();
    if *not_after <= now {
        doubts.push(format!("cert: {cert}: {subject} has expired: clients will refuse it"));
    } else if *not_before > now {
        doubts.push(format!("cert: {cert}: {subject} does not hold yet: clients will refuse it"));
    }
    if hosts.is_empty() {
        doubts.push(format!("cert: {cert}: {subject} names no host: nobody asks for it by name"));
    }
    if is_open(&files.key) {
        doubts.push(format!(
            "key: {0}: every user of this machine can read it; chmod 600 {0}",
            files.key.display()
        ));
    }
    doubts.into_iter()
}

fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|data| data.permissions().mode() & 0o004 != 0)
}

/// Those who issue clients' certificates, and the bytes that name them.
pub(super) fn roots(path: &Path) -> Result<(RootCertStore, Vec<u8>), String> {
    let named = |reason: String| format!("clientAuth.ca: {}: {reason}", path.display());
    let mut roots = RootCertStore::empty();
    let mut bytes = Vec::new();
    for der in certificates(path).map_err(named)? {
        bytes.extend_from_slice(&der);
        roots.add(der).map_err(|error| named(format!("cannot be used: {error}")))?;
    }
    Ok((roots, bytes))
}

/// All certificates of a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = files::read(path, TLS_FILE_BYTES_MAX)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| format!("is broken PEM: {error}"))?;
    if !found.is_empty() {
        return Ok(found);
    }
    Err(if PrivateKeyDer::from_pem_slice(&bytes).is_ok() {
        "holds a key and no certificate: are cert and key the wrong way round?".to_owned()
    } else if bytes.first() == Some(&0x30) {
        format!(
            "is DER; write it as PEM: openssl x509 -inform der -in {0} -out {0}.pem",
            path.display()
        )
    } else {
        "holds no certificate in PEM (-----BEGIN CERTIFICATE-----)".to_owned()
    })
}

fn secret(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let bytes = files::read(path, TLS_FILE_BYTES_MAX)?;
    let holds = |words: &[u8]| memchr::memmem::find(&bytes, words).is_some();
    if holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED") {
        return Err(format!(
            "is encrypted, and nobody is there to be asked for its passphrase; write it in the \
             clear, readable for the gateway's user alone: openssl pkey -in {0} -out {0}.clear",
            path.display()
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        if CertificateDer::from_pem_slice(&bytes).is_ok() {
            "holds a certificate and no key: are cert and key the wrong way round?".to_owned()
        } else if bytes.first() == Some(&0x30) {
            format!(
                "is DER; write it as PEM: openssl pkey -inform der -in {0} -out {0}.pem",
                path.display()
            )
        } else {
            "holds no key in PEM (-----BEGIN PRIVATE KEY-----)".to_owned()
        }
    })
}

/// An answer of the issuer's (RFC 6960 section 4.2.1): a sequence that begins with the status 0.
fn ocsp(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = files::read(path, TLS_FILE_BYTES_MAX)?;
    let content = match *bytes.as_slice() {
        [0x30, length, ref content @ ..] if length < 0x80 => content,
        [0x30, 0x81, _, ref content @ ..]
        | [0x30, 0x82, _, _, ref content @ ..]
        | [0x30, 0x83, _, _, _, ref content @ ..] => content,
        _ => &[],
    };
    if content.starts_with(&[0x0a, 1, 0]) {
        return Ok(bytes);
    }
    Err("is no OCSP response in DER that was successful; openssl ocsp -respout writes one"
        .to_owned())
}
