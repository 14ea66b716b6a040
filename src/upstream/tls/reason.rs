//! Why a TLS handshake failed, in words that lead to the cause and what to do about it: whoever
//! reads them cannot see the other side's log.

use rustls::{AlertDescription, CertificateError, Error};
use webpki::Error as Flaw;

/// In words.
pub(super) fn of(cause: Option<&Error>) -> &'static str {
    match cause {
        Some(Error::InvalidCertificate(why)) => of_certificate(why),
        Some(Error::AlertReceived(alert)) => of_alert(*alert),
        Some(Error::PeerIncompatible(_)) => {
            "upstream speaks neither TLS 1.2 nor TLS 1.3 with a cipher that is allowed"
        }
        Some(Error::NoApplicationProtocol) => "upstream does not offer HTTP/1.1 by ALPN",
        Some(Error::NoCertificatesPresented) => "upstream shows no certificate",
        Some(Error::InvalidMessage(_)) => "upstream does not speak TLS on this port",
        Some(_) => "TLS handshake with the upstream failed",
        None => "upstream closed the connection during the TLS handshake",
    }
}

fn of_certificate(why: &CertificateError) -> &'static str {
    match why {
        CertificateError::UnknownIssuer => {
            "upstream's certificate is signed by nobody whom this machine trusts \
             (SSL_CERT_FILE, SSL_CERT_DIR or the system's certificates): add the issuer's, and \
             have the upstream send those between"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "upstream's certificate has expired, or its issuer's: renew it, or set this machine's \
             clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "upstream's certificate is not valid yet: set this machine's clock, or wait"
        }
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => {
            "upstream's certificate has no subjectAltName, and a common name does not count: make \
             one with the target's name or address in subjectAltName"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "upstream's certificate is for another name than the target's URL has: use a name (or \
             address) that stands in its subjectAltName, or add this one there"
        }
        CertificateError::Revoked => "upstream's certificate was revoked: have it issued anew",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "upstream's certificate is not for servers: its extendedKeyUsage lacks serverAuth, \
             issue it with that"
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => UNSUPPORTED,
        CertificateError::BadSignature => {
            "a signature of upstream's certificate does not verify: it is by another key of an \
             issuer of the same name, or an RSA key has less than 2048 or more than 8192 bits"
        }
        CertificateError::BadEncoding => {
            "upstream's certificate is malformed (X.509 by DER): have it issued anew"
        }
        CertificateError::UnhandledCriticalExtension => UNHANDLED,
        CertificateError::Other(other) => of_flaw(other.0.downcast_ref()),
        _ => "upstream's certificate is not valid: have it issued anew",
    }
}

const UNSUPPORTED: &str = "upstream's certificate, or its issuer's, is signed by an algorithm that \
                           is not accepted (SHA-1, DSA, MD5): have it issued with SHA-256 and RSA \
                           from 2048 bits, or ECDSA";
const UNHANDLED: &str = "upstream's certificate has a critical extension that this gateway does \
                         not know: have it issued without, or not critical";

/// What has no error of rustls's own.
fn of_flaw(flaw: Option<&Flaw>) -> &'static str {
    match flaw {
        Some(Flaw::CaUsedAsEndEntity) => {
            "upstream's certificate is one of an authority (CA:TRUE), which no server may show: \
             make it with basicConstraints CA:FALSE, or sign a server's certificate by it"
        }
        Some(Flaw::EndEntityUsedAsCa) => {
            "upstream's certificate is signed by one that is not an authority's (CA:FALSE): make \
             the issuer's with basicConstraints CA:TRUE, or trust the server's own (CA:FALSE)"
        }
        Some(Flaw::UnsupportedCertVersion) => {
            "upstream's certificate is X.509 version 1 or 2: make one of version 3, with \
             subjectAltName (openssl x509 -req does so with -extfile)"
        }
        Some(Flaw::PathLenConstraintViolated) => {
            "upstream's certificate has more authorities above it than one of them allows \
             (pathlen in basicConstraints)"
        }
        Some(Flaw::NameConstraintViolation) => {
            "upstream's certificate has a name that its authority may not vouch for \
             (nameConstraints)"
        }
        Some(Flaw::UnsupportedCriticalExtension) => UNHANDLED,
        Some(Flaw::EmptyEkuExtension) => {
            "upstream's certificate is for no purpose: its extendedKeyUsage is empty, issue it \
             with serverAuth"
        }
        Some(
            Flaw::MalformedExtensions
            | Flaw::ExtensionValueInvalid
            | Flaw::InvalidSerialNumber
            | Flaw::SignatureAlgorithmMismatch,
        ) => "upstream's certificate is malformed (RFC 5280): have it issued anew",
        Some(
            Flaw::MaximumPathDepthExceeded
            | Flaw::MaximumPathBuildCallsExceeded
            | Flaw::MaximumSignatureChecksExceeded
            | Flaw::MaximumNameConstraintComparisonsExceeded,
        ) => "upstream shows too many certificates, or too long a chain",
        _ => "upstream's certificate is not valid: have it issued anew",
    }
}

fn of_alert(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => {
            "upstream asks for a client's certificate, and this gateway shows none"
        }
        AlertDescription::UnrecognisedName => {
            "upstream has no certificate for the name in the target's URL (SNI)"
        }
        AlertDescription::ProtocolVersion => "upstream speaks neither TLS 1.2 nor TLS 1.3",
        AlertDescription::NoApplicationProtocol => "upstream does not offer HTTP/1.1 by ALPN",
        AlertDescription::HandshakeFailure => {
            "upstream refused the TLS handshake: no cipher in common, or it asks for a client's \
             certificate"
        }
        _ => "upstream refused the TLS handshake",
    }
}
