//! Decodes `server.listen` and `admin.listen`: addresses, and what is spoken at them.

use super::decode::{Item, Section, list, path, string, word};
use super::errors::Errors;
use super::model_listen::{CertificateFiles, ClientAuth, Listener, Tls, TlsVersion};
use super::tree::{Node, Value};
use super::{Listen, address as addresses, keys};
use crate::http::connection::Protocol;
use crate::io::proxy::ProxyProtocol;
use crate::limits;

/// One address or a list of listeners.
pub(super) fn listeners(item: &Item<'_>, errors: &mut Errors) -> Option<Vec<Listener>> {
    if let Value::Scalar(_) | Value::Broken = item.node.value {
        return address(item, errors).map(|one| vec![Listener::plain(one)]);
    }
    let mut listeners: Vec<Listener> = Vec::new();
    list(item, limits::LISTEN_MAX, errors, |item, errors| {
        let one = listener(item, errors)?;
        let is_there = listeners.iter().any(|other| other.address == one.address);
        if is_there && !has_free_port(&one.address) {
            item.refuse(errors, format!("{} stands twice; take one out", one.address));
        }
        listeners.push(one);
        Some(())
    })?;
    if is_empty_list(item.node) {
        item.expected(errors, "at least one address such as 127.0.0.1:8080");
    }
    Some(listeners)
}

/// An address, or a map with one.
fn listener(item: &Item<'_>, errors: &mut Errors) -> Option<Listener> {
    if !matches!(item.node.value, Value::Map(_)) {
        return address(item, errors).map(Listener::plain);
    }
    let map = Section::open(item, &keys::LISTENER, errors)?;
    let why = "where it accepts, such as 0.0.0.0:8443";
    let address = map.require("address", why, errors, address);
    let tls = map.read("tls", errors, tls);
    let proxy = [
        ("off", ProxyProtocol::Off),
        ("accept", ProxyProtocol::Accept),
        ("require", ProxyProtocol::Require),
    ];
    let is_secured = tls.is_some();
    let protocols =
        map.read("protocols", errors, |item, errors| protocols(item, is_secured, errors));
    Some(Listener {
        address: address?,
        tls,
        protocols: protocols.unwrap_or_else(|| vec![Protocol::Http2, Protocol::Http1]),
        proxy_protocol: map
            .read("proxyProtocol", errors, |item, errors| word(item, &proxy, errors))
            .unwrap_or_default(),
    })
}

/// `h2c` is a word for HTTP/2 in the clear alone.
fn protocols(item: &Item<'_>, is_secured: bool, errors: &mut Errors) -> Option<Vec<Protocol>> {
    let known = [("h2", Protocol::Http2), ("http/1.1", Protocol::Http1), ("h2c", Protocol::Http2)];
    let protocols = list(item, 2, errors, |item, errors| {
        if is_secured && item.scalar().is_some_and(|scalar| scalar.text == "h2c") {
            item.expected(errors, "h2 where there is tls: h2c is HTTP/2 in the clear");
            return None;
        }
        word(item, &known, errors)
    })?;
    if is_empty_list(item.node) {
        item.expected(errors, "at least one protocol such as http/1.1");
    }
    Some(protocols)
}

/// The admin API's: an address, or a map with one and the TLS.
pub(super) fn admin(item: &Item<'_>, errors: &mut Errors) -> Option<(Listen, Option<Tls>)> {
    if !matches!(item.node.value, Value::Map(_)) {
        return Some((address(item, errors)?, None));
    }
    let map = Section::open(item, &keys::ADMIN_LISTENER, errors)?;
    let address =
        map.require("address", "where it listens, such as 127.0.0.1:8081", errors, address);
    let tls = map.read("tls", errors, tls);
    Some((address?, tls))
}

/// `tls`.
fn tls(item: &Item<'_>, errors: &mut Errors) -> Option<Tls> {
    let map = Section::open(item, &keys::LISTENER_TLS, errors)?;
    let why = "a list of {cert, key}, the first of which is for whoever asks for no other";
    let certificates = map.require("certificates", why, errors, |item, errors| {
        let found = list(item, limits::CERTIFICATES_MAX, errors, certificate)?;
        if is_empty_list(item.node) || item.node.is_null() {
            item.expected(errors, "at least one certificate: {cert: a.pem, key: a.key}");
        }
        Some(found)
    });
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    let min_version = map.read("minVersion", errors, |item, errors| word(item, &versions, errors));
    let client_auth = map.read("clientAuth", errors, client_auth);
    Some(Tls {
        certificates: certificates?,
        min_version: min_version.unwrap_or(TlsVersion::V1_2),
        client_auth,
    })
}

fn certificate(item: &Item<'_>, errors: &mut Errors) -> Option<CertificateFiles> {
    let map = Section::open(item, &keys::CERTIFICATE, errors)?;
    let cert = map.require("cert", "the file of the certificate, in PEM", errors, path);
    let key = map.require("key", "the file of its key, in PEM", errors, path);
    let ocsp = map.read("ocsp", errors, path);
    Some(CertificateFiles { cert: cert?, key: key?, ocsp })
}

fn client_auth(item: &Item<'_>, errors: &mut Errors) -> Option<ClientAuth> {
    let map = Section::open(item, &keys::CLIENT_AUTH, errors)?;
    let ca = map.require("ca", "the file of who issues clients' certificates", errors, path);
    let modes = [("require", true), ("optional", false)];
    let is_required =
        map.read("mode", errors, |item, errors| word(item, &modes, errors)).unwrap_or(true);
    Some(ClientAuth { ca: ca?, is_required })
}

/// Whether the kernel chooses the port, so that two listeners don't collide.
fn has_free_port(address: &Listen) -> bool {
    matches!(address, Listen::Tcp { port: 0, .. })
}

pub(super) fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, Value::List(items) if items.is_empty())
}

/// An address.
fn address(item: &Item<'_>, errors: &mut Errors) -> Option<Listen> {
    let text = string(item, errors)?;
    match addresses::listen(&text) {
        Ok(address) => Some(address),
        Err(form) => {
            item.expected(errors, &form);
            None
        }
    }
}
