//! Signatures of modules: Ed25519 (RFC 8032), made by a key whose public half the node's own file
//! names.
//!
//! What is signed is not the module but a text of two lines about its digest, the first of which no
//! other protocol has: a signature of something else is none of a module, and one of another module
//! is none of this. Signatures are told apart by nothing: a file of them has one in each line, in
//! base64, and one that holds is enough.

use std::path::PathBuf;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::{Cause, Digest, Trouble};
use crate::files;
use crate::limits::{MODULE_FILE_BYTES_MAX, MODULE_SIGNATURES_MAX};
use crate::text::hex;

/// What stands before the 32 bytes of a public key (RFC 8410, section 10.1).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// What is signed for the module of this digest.
pub(super) fn message(digest: &Digest) -> String {
    format!("odin module signature v1\nsha256:{}\n", hex(digest))
}

/// Whose signatures count.
#[derive(Debug, Default)]
pub(super) struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Reads the public keys of these files; each may have several.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Trouble> {
        let mut keys = Vec::new();
        for path in paths {
            let why = |why: String| {
                Trouble::new(
                    Cause::Signature,
                    format!("modules.signedBy: {}: {why}", path.display()),
                )
            };
            let pem = files::read(path, MODULE_FILE_BYTES_MAX).map_err(why)?;
            keys.extend(public(&pem).map_err(why)?);
        }
        Ok(Self(keys))
    }

    /// Whether fetched modules must be signed.
    pub(super) fn are_asked_for(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether one of them has signed the module of this digest, or none needs to. `text` is what a
    /// file of signatures holds.
    pub(super) fn have_signed(&self, digest: &Digest, text: Option<&[u8]>) -> bool {
        if !self.are_asked_for() {
            return true;
        }
        let message = message(digest);
        let signatures = signatures(text.unwrap_or_default());
        signatures.iter().any(|signature| {
            let holds = |key: &[u8; 32]| {
                UnparsedPublicKey::new(&ED25519, key).verify(message.as_bytes(), signature).is_ok()
            };
            self.0.iter().any(holds)
        })
    }
}

/// The public keys of a PEM file.
fn public(pem: &[u8]) -> Result<Vec<[u8; 32]>, String> {
    let mut keys = Vec::new();
    for key in SubjectPublicKeyInfoDer::pem_slice_iter(pem) {
        let key = key.map_err(|error| format!("cannot be read as PEM: {error}"))?;
        let raw = key.strip_prefix(&SPKI).and_then(|raw| <[u8; 32]>::try_from(raw).ok());
        keys.push(raw.ok_or(
            "has a key that is not Ed25519; openssl genpkey -algorithm ed25519 \
                             makes one",
        )?);
    }
    if keys.is_empty() {
        return Err("has no public key in PEM; openssl pkey -in KEY -pubout writes one".to_owned());
    }
    Ok(keys)
}

/// The signatures of a text, as many as are read; what is none is passed over.
fn signatures(text: &[u8]) -> Vec<[u8; 64]> {
    let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let read = lines.filter_map(|line| STANDARD.decode(line).ok()?.try_into().ok());
    read.take(MODULE_SIGNATURES_MAX).collect()
}

/// A line for a file of signatures, made with the private key of a PEM file (PKCS #8).
///
/// # Errors
/// It has no such key, in words.
pub fn sign(pem: &[u8], digest: &Digest) -> Result<String, String> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem)
        .map_err(|error| format!("has no private key in PEM: {error}"))?;
    let pair = Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|_| {
        "has a key that is not Ed25519; openssl genpkey -algorithm ed25519 makes one".to_owned()
    })?;
    Ok(STANDARD.encode(pair.sign(message(digest).as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by OpenSSL 3: genpkey -algorithm ed25519, pkey -pubout, and pkeyutl -sign -rawin of the
    /// message of the digest that is all 0x11.
    const PRIVATE: &str = include_str!("testdata/key.pem");
    const PUBLIC: &str = include_str!("testdata/key.pub");
    const OPENSSL: &str = include_str!("testdata/signature.b64");

    fn keys() -> Keys {
        Keys(public(PUBLIC.as_bytes()).unwrap())
    }

    #[test]
    fn a_signature_of_openssl_is_one() {
        assert!(keys().have_signed(&[0x11; 32], Some(OPENSSL.as_bytes())));
        // Ed25519 has no chance in it.
        assert_eq!(sign(PRIVATE.as_bytes(), &[0x11; 32]).unwrap(), OPENSSL.trim());
    }

    #[test]
    fn a_signature_of_another_module_or_by_another_key_or_of_another_text_is_none() {
        let keys = keys();
        assert!(!keys.have_signed(&[0x12; 32], Some(OPENSSL.as_bytes())));
        assert!(!keys.have_signed(&[0x11; 32], None));
        assert!(!keys.have_signed(&[0x11; 32], Some(b"")));
        let pair = Ed25519KeyPair::generate().unwrap();
        let of_other = STANDARD.encode(pair.sign(message(&[0x11; 32]).as_bytes()));
        assert!(!keys.have_signed(&[0x11; 32], Some(of_other.as_bytes())));
        let key = PrivatePkcs8KeyDer::from_pem_slice(PRIVATE.as_bytes()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
        let of_text = STANDARD.encode(pair.sign(&[0x11; 32]));
        assert!(!keys.have_signed(&[0x11; 32], Some(of_text.as_bytes())));
        // Among others, with Windows' ends of lines, it still holds.
        let many = format!("# by hand\r\n{of_other}\r\n\r\n{}\r\n", OPENSSL.trim());
        assert!(keys.have_signed(&[0x11; 32], Some(many.as_bytes())));
        let late = format!("{of_other}\n").repeat(MODULE_SIGNATURES_MAX) + OPENSSL;
        assert!(!keys.have_signed(&[0x11; 32], Some(late.as_bytes())), "as many as are read");
    }

    #[test]
    fn no_bit_of_a_signature_can_be_turned() {
        let mut raw = STANDARD.decode(OPENSSL.trim()).unwrap();
        for bit in 0..raw.len() * 8 {
            raw[bit / 8] ^= 1 << (bit % 8);
            let text = STANDARD.encode(&raw);
            assert!(!keys().have_signed(&[0x11; 32], Some(text.as_bytes())), "bit {bit}");
            raw[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn what_is_no_key_is_said_to_be_none() {
        assert!(public(b"").unwrap_err().contains("no public key"));
        assert!(public(PRIVATE.as_bytes()).unwrap_err().contains("no public key"));
        assert!(sign(PUBLIC.as_bytes(), &[0; 32]).unwrap_err().contains("no private key"));
        let none = Keys::default();
        assert!(none.have_signed(&[0; 32], None), "without keys none is asked for");
    }
}
