//! One module from where it is to the disk: its signature first, which is small, then the module,
//! piece by piece.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Response, StatusCode, Url};
use tokio::sync::mpsc;

use super::logins::authorization;
use super::registry::Session;
use super::signature::Keys;
use super::store::{Store, too_large};
use super::web::{Web, broken, kind, small, unwanted};
use super::{Cause, Digest, Trouble, Want, blocking};
use crate::control::config::{Reference, Remote};
use crate::limits::{
    MODULE_PIECES_WAITING_MAX, MODULE_SIGNATURES_BYTES_MAX, PLUGIN_MODULE_BYTES_MAX,
};

/// What a fetch is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch<'a> {
    pub(super) web: &'a Web,
    pub(super) store: &'a Arc<Store>,
    pub(super) keys: &'a Arc<Keys>,
}

impl Fetch<'_> {
    /// Has a module on disk, with a signature that holds, from the first place that has both; gives
    /// the bytes that have come.
    pub(super) async fn any(self, want: &Want) -> Result<u64, Trouble> {
        let mut failed = None;
        for place in &want.places {
            match self.from(place, want).await {
                Ok(bytes) => return Ok(bytes),
                Err(trouble) => failed = failed.or(Some(trouble)),
            }
        }
        // There is one at least.
        Err(failed.unwrap_or_else(|| Trouble::store("it is nowhere".to_owned())))
    }

    async fn from(self, place: &Remote, want: &Want) -> Result<u64, Trouble> {
        let digest = want.digest;
        match place {
            Remote::Web(url) => {
                let auth = self.web.logins.of(&place.host()).and_then(authorization);
                if !want.is_signed {
                    let text = self.detached(url, auth.as_ref()).await?;
                    self.sign(digest, text).await?;
                }
                if want.is_here {
                    return Ok(0);
                }
                let response = self.web.get(url, ACCEPTED, auth.as_ref()).await?;
                self.keep(digest, url, response).await
            }
            Remote::Registry(reference) => {
                let mut session = Session::new(self.web, reference, "pull");
                if !want.is_signed {
                    let text = session.signatures(&digest).await?;
                    let text = text.ok_or_else(|| unsigned(&place.to_string()))?;
                    self.sign(digest, text).await?;
                }
                if want.is_here {
                    return Ok(0);
                }
                let (url, response) = session.blob(&digest).await?;
                if response.status() == StatusCode::NOT_FOUND {
                    return Err(not_there(reference));
                }
                self.keep(digest, &url, response).await
            }
        }
    }

    /// The file of signatures that stands beside a module.
    async fn detached(self, url: &Url, auth: Option<&HeaderValue>) -> Result<Vec<u8>, Trouble> {
        let mut beside = url.clone();
        beside.set_path(&format!("{}.sig", url.path()));
        let response = self.web.get(&beside, "*/*", auth).await?;
        match response.status() {
            StatusCode::OK => small(response, &beside).await,
            StatusCode::NOT_FOUND => Err(unsigned(beside.path())),
            _ => Err(unwanted(&beside, &response)),
        }
    }

    /// Keeps signatures, if one of them holds.
    async fn sign(self, digest: Digest, text: Vec<u8>) -> Result<(), Trouble> {
        let (store, keys) = (Arc::clone(self.store), Arc::clone(self.keys));
        blocking(move || {
            let is_short = text.len() <= MODULE_SIGNATURES_BYTES_MAX;
            if !is_short || !keys.have_signed(&digest, Some(&text)) {
                return Err(Trouble::new(
                    Cause::Signature,
                    "none of its signatures is one of this module by a key of modules.signedBy",
                ));
            }
            store.keep_signatures(&digest, &text)
        })
        .await
    }

    /// Writes a module as it comes. Dropped, it leaves no file behind.
    async fn keep(self, digest: Digest, url: &Url, mut response: Response) -> Result<u64, Trouble> {
        if response.status() != StatusCode::OK {
            return Err(unwanted(url, &response));
        }
        let most = PLUGIN_MODULE_BYTES_MAX as u64;
        if response.content_length().is_some_and(|bytes| bytes > most) {
            return Err(too_large());
        }
        let kind = kind(&response);
        let (sender, mut pieces) = mpsc::channel::<Option<Bytes>>(MODULE_PIECES_WAITING_MAX);
        let store = Arc::clone(self.store);
        let writing = blocking(move || {
            let mut incoming = store.incoming(&digest)?;
            loop {
                match pieces.blocking_recv() {
                    Some(Some(piece)) => incoming.take(&piece)?,
                    Some(None) => return store.keep(incoming, kind.as_deref()),
                    // Nobody waits for it any more.
                    None => return Err(Trouble::store("it was given up".to_owned())),
                }
            }
        });
        let reading = async {
            let sender = sender;
            loop {
                let piece = response.chunk().await.map_err(|error| broken(error, url))?;
                let is_end = piece.is_none();
                // The writer says why it has stopped.
                if sender.send(piece).await.is_err() || is_end {
                    return Ok::<_, Trouble>(());
                }
            }
        };
        let (read, written) = tokio::join!(reading, writing);
        read.and(written)
    }
}

const ACCEPTED: &str = "application/wasm, application/octet-stream;q=0.9, */*;q=0.1";

fn unsigned(place: &str) -> Trouble {
    let words = format!(
        "it is not signed ({place} has no signature), and modules.signedBy asks for one; odin-cli \
         plugin sign makes one"
    );
    Trouble::new(Cause::Signature, words)
}

fn not_there(reference: &Reference) -> Trouble {
    let Reference { registry, repository, .. } = reference;
    Trouble::answer(format!(
        "{registry} has no module of this sha256 in {repository}; odin-cli plugin push puts one \
         there and prints its sha256"
    ))
}
