//! Modules into registries and out of them, for `odin-cli plugin`: as artifacts of the layout that
//! the CNCF's working group has given them (one layer `application/wasm`, a configuration
//! `application/vnd.wasm.config.v0+json`).
//!
//! What is pushed has no time in it, so the same module with the same facts is the same artifact.

use std::collections::BTreeMap;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::{Value, json};

use super::registry::{
    Descriptor, MANIFEST_KIND, Manifest, SIGNATURES_KIND, Session, digest_of, signatures_tag,
};
use super::store::too_large;
use super::web::{Web, broken, is_same_origin, send, small, unwanted};
use super::{Digest, Trouble};
use crate::control::config::{Modules, Reference};
use crate::control::courtesy::sha256;
use crate::limits::{MODULE_SIGNATURES_BYTES_MAX, MODULE_SIGNATURES_MAX, PLUGIN_MODULE_BYTES_MAX};
use crate::text::hex;

/// The kind of a module's configuration within a registry.
const CONFIG_KIND: &str = "application/vnd.wasm.config.v0+json";
/// What modules are called as layers: by the layout, by the one before it, by Envoy's images.
const MODULE_KINDS: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];
/// Of an artifact that has no configuration.
const EMPTY_KIND: &str = "application/vnd.oci.empty.v1+json";

/// Asks registries, and waits for their answers.
pub struct Registries {
    runtime: tokio::runtime::Runtime,
    web: Web,
}

/// An artifact in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// The digest of its manifest.
    pub manifest: Digest,
    /// The digest of its module: what the configuration has as `sha256`.
    pub module: Digest,
    /// What is said of it.
    pub facts: BTreeMap<String, String>,
}

impl Registries {
    /// Reads what `modules` names: an authority, logins.
    ///
    /// # Errors
    /// It cannot be read, in words.
    pub fn new(modules: Modules) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let web = Web::new(modules).map_err(|trouble| trouble.to_string())?;
        Ok(Self { runtime, web })
    }

    /// Puts a module where `to` says, under its tag, with what is to be said of it.
    ///
    /// # Errors
    /// The registry does not take it, in words.
    pub fn push(
        &self,
        to: &Reference,
        wasm: Vec<u8>,
        facts: BTreeMap<String, String>,
    ) -> Result<Artifact, String> {
        let module = sha256(&wasm);
        let config = json!({
            "architecture": "wasm",
            "os": "wasip1",
            "layerDigests": [named(&module)],
        });
        let layer = layer(MODULE_KINDS[0], &wasm);
        let blobs = vec![Bytes::from(wasm)];
        let tag = to.tag.as_deref().unwrap_or(LATEST);
        let pushing = self.artifact(to, tag, (CONFIG_KIND, config), (vec![layer], blobs), &facts);
        let manifest = self.wait(pushing)?;
        Ok(Artifact { manifest, module, facts })
    }

    /// Adds a signature (a line of base64) to those of a module.
    ///
    /// # Errors
    /// The registry does not take it, or there are too many, in words.
    pub fn add_signature(&self, to: &Reference, module: &Digest, line: &str) -> Result<(), String> {
        let earlier = async { Session::new(&self.web, to, "pull").signatures(module).await };
        let earlier = self.wait(earlier)?.unwrap_or_default();
        let text = with_line(&String::from_utf8_lossy(&earlier), line)?;
        let layer = layer(SIGNATURES_KIND, text.as_bytes());
        let blobs = vec![Bytes::from(text)];
        let facts = BTreeMap::new();
        let tag = signatures_tag(module);
        let pushing =
            self.artifact(to, &tag, (EMPTY_KIND, json!({})), (vec![layer], blobs), &facts);
        self.wait(pushing).map(drop)
    }

    /// What a registry has there: by the digest of the manifest if `from` has one, else by its tag.
    ///
    /// # Errors
    /// It is not there, or is no module, in words.
    pub fn look(&self, from: &Reference) -> Result<Artifact, String> {
        self.wait(async { looked(&mut Session::new(&self.web, from, "pull"), from).await })
    }

    /// The module of an artifact.
    ///
    /// # Errors
    /// The registry does not give it, in words.
    pub fn pull(&self, from: &Reference, artifact: &Artifact) -> Result<Vec<u8>, String> {
        self.wait(async {
            let mut session = Session::new(&self.web, from, "pull");
            let (url, response) = session.blob(&artifact.module).await?;
            if response.status() != StatusCode::OK {
                return Err(unwanted(&url, &response));
            }
            let wasm = module(response, &url).await?;
            let got = sha256(&wasm);
            if got != artifact.module {
                let (got, host) = (hex(&got), &from.registry);
                return Err(Trouble::answer(format!("{host} has sent another module: {got}")));
            }
            Ok(wasm)
        })
    }

    /// The file of signatures of a module.
    ///
    /// # Errors
    /// The registry does not give it, in words.
    pub fn signatures(&self, from: &Reference, module: &Digest) -> Result<Vec<u8>, String> {
        let asked = async { Session::new(&self.web, from, "pull").signatures(module).await };
        self.wait(asked).map(Option::unwrap_or_default)
    }

    fn wait<T>(&self, asked: impl Future<Output = Result<T, Trouble>>) -> Result<T, String> {
        let timeout = self.web.modules.timeout;
        let asked = async {
            let answered = tokio::time::timeout(timeout, asked).await;
            answered.unwrap_or_else(|_| Err(Trouble::late(timeout)))
        };
        self.runtime.block_on(asked).map_err(|trouble| trouble.to_string())
    }

    async fn artifact(
        &self,
        to: &Reference,
        tag: &str,
        (kind, config): (&str, Value),
        (layers, blobs): (Vec<Value>, Vec<Bytes>),
        facts: &BTreeMap<String, String>,
    ) -> Result<Digest, Trouble> {
        let mut session = Session::new(&self.web, to, "pull,push");
        let config = config.to_string();
        for blob in blobs.into_iter().chain([Bytes::from(config.clone())]) {
            session.put_blob(blob).await?;
        }
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_KIND,
            "config": layer(kind, config.as_bytes()),
            "layers": layers,
        });
        if kind == EMPTY_KIND {
            manifest["artifactType"] = SIGNATURES_KIND.into();
        }
        if !facts.is_empty() {
            manifest["annotations"] = json!(facts);
        }
        session.put_manifest(tag, Bytes::from(manifest.to_string())).await
    }
}

/// The tag of who names none, as everywhere.
const LATEST: &str = "latest";

fn named(digest: &Digest) -> String {
    format!("sha256:{}", hex(digest))
}

/// A blob as a manifest names it.
fn layer(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": named(&sha256(bytes)), "size": bytes.len()})
}

/// A file of signatures with one line more, unless it is there.
///
/// # Errors
/// That would be more than is read.
pub fn with_line(earlier: &str, line: &str) -> Result<String, String> {
    let mut lines: Vec<&str> = earlier.lines().map(str::trim).collect();
    lines.retain(|one| !one.is_empty());
    if !lines.contains(&line) {
        lines.push(line);
    }
    let text = lines.join("\n") + "\n";
    let count = lines.len();
    if count > MODULE_SIGNATURES_MAX || text.len() > MODULE_SIGNATURES_BYTES_MAX {
        let (most, bytes) = (MODULE_SIGNATURES_MAX, MODULE_SIGNATURES_BYTES_MAX);
        return Err(format!(
            "that would be {count} signatures, and no more than {most} of {bytes} bytes are read; \
             take old ones out"
        ));
    }
    Ok(text)
}

async fn looked(session: &mut Session<'_>, from: &Reference) -> Result<Artifact, Trouble> {
    let name = from.manifest.as_deref().or(from.tag.as_deref()).unwrap_or(LATEST);
    let absent = || Trouble::answer(format!("{} has no {from}", from.registry));
    let text = session.manifest(name).await?.ok_or_else(absent)?;
    let digest = sha256(&text);
    if from.manifest.as_ref().is_some_and(|manifest| *manifest != named(&digest)) {
        return Err(Trouble::answer(format!("{} has sent another manifest", from.registry)));
    }
    let wrong = || Trouble::answer(format!("{from} is no manifest of a module"));
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|_| wrong())?;
    let is_module = |layer: &&Descriptor| MODULE_KINDS.contains(&layer.media_type.as_str());
    let layer = manifest.layers.iter().find(is_module).ok_or_else(|| {
        let kinds: Vec<_> = manifest.layers.iter().map(|one| one.media_type.as_str()).collect();
        if kinds.iter().any(|kind| kind.contains(".tar")) {
            return Trouble::answer(packed(from));
        }
        let (kinds, known) = (kinds.join(", "), MODULE_KINDS.join(", "));
        Trouble::answer(format!("{from} has layers of {kinds}; a module is one of {known}"))
    })?;
    let module = digest_of(&layer.digest).ok_or_else(wrong)?;
    Ok(Artifact { manifest: digest, module, facts: manifest.annotations })
}

/// What becomes of a module in a layer of files, as `docker build` makes it. A node asks for
/// exactly the bytes of its digest, and those of a module are not such a layer's.
fn packed(from: &Reference) -> String {
    format!(
        "{from} is an image of files, of which a module would be one; take it out and push it as \
         itself: docker create --name m {from} - && docker cp m:/plugin.wasm . && docker rm m, \
         then odin-cli plugin push plugin.wasm oci://{from}"
    )
}

/// A module, whole.
async fn module(mut response: Response, url: &Url) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| broken(error, url))? {
        if bytes.len() + piece.len() > PLUGIN_MODULE_BYTES_MAX {
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

impl Session<'_> {
    /// Has a blob in the repository.
    async fn put_blob(&mut self, bytes: Bytes) -> Result<(), Trouble> {
        let digest = named(&sha256(&bytes));
        let url = self.url(&format!("blobs/{digest}"))?;
        if self.ask(Method::HEAD, &url, None).await?.status() == StatusCode::OK {
            return Ok(());
        }
        let url = self.url("blobs/uploads/")?;
        let begun = self.ask(Method::POST, &url, None).await?;
        let place = begun.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let place = place.filter(|_| begun.status() == StatusCode::ACCEPTED);
        let place = place.and_then(|place| url.join(place).ok());
        let Some(mut place) = place else { return Err(refused(&url, begun).await) };
        place.query_pairs_mut().append_pair("digest", &digest);
        let kind = "application/octet-stream";
        let put = self.ask(Method::PUT, &place, Some((kind, bytes))).await?;
        if put.status() == StatusCode::CREATED { Ok(()) } else { Err(refused(&place, put).await) }
    }

    /// Puts a manifest under a tag.
    async fn put_manifest(&mut self, tag: &str, bytes: Bytes) -> Result<Digest, Trouble> {
        let digest = sha256(&bytes);
        let url = self.url(&format!("manifests/{tag}"))?;
        let put = self.ask(Method::PUT, &url, Some((MANIFEST_KIND, bytes))).await?;
        match put.status() {
            StatusCode::CREATED => Ok(digest),
            _ => Err(refused(&url, put).await),
        }
    }

    /// Asks for a change, and again with what the registry wants to be shown. What is shown goes to
    /// the registry itself alone, wherever an upload's place is.
    async fn ask(
        &mut self,
        method: Method,
        url: &Url,
        body: Option<(&str, Bytes)>,
    ) -> Result<Response, Trouble> {
        let is_own = is_same_origin(url, &self.url("")?);
        let request = |session: &Self| {
            let mut request = session.web.request(method.clone(), url.clone())?;
            if let Some(auth) = session.auth.as_ref().filter(|_| is_own) {
                request = request.header(AUTHORIZATION, auth);
            }
            if let Some((kind, bytes)) = &body {
                request = request.header(CONTENT_TYPE, *kind).body(bytes.clone());
            }
            Ok::<_, Trouble>(request)
        };
        let response = send(request(self)?, url).await?;
        if response.status() != StatusCode::UNAUTHORIZED
            || !is_own
            || !self.log_in(url, &response).await?
        {
            return Ok(response);
        }
        send(request(self)?, url).await
    }
}

/// A refusal with what the registry says of it.
async fn refused(url: &Url, response: Response) -> Trouble {
    let mut trouble = unwanted(url, &response);
    let text = small(response, url).await.unwrap_or_default();
    let json: Value = serde_json::from_slice(&text).unwrap_or_default();
    if let Some(why) = json["errors"][0]["message"].as_str() {
        let why: String = why.chars().take(200).flat_map(char::escape_default).collect();
        trouble.words.push_str(&format!(": {why}"));
    }
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_added_once_and_as_many_as_are_read() {
        let mut text = with_line("", "a").unwrap();
        assert_eq!(text, "a\n");
        assert_eq!(with_line(&text, "a").unwrap(), "a\n");
        for line in ["b", "c", "d", "e", "f", "g", "h"] {
            text = with_line(&text, line).unwrap();
        }
        assert_eq!(text, "a\nb\nc\nd\ne\nf\ng\nh\n");
        assert!(with_line(&text, "i").unwrap_err().contains("9 signatures"));
        assert!(with_line("", &"x".repeat(5000)).is_err());
    }
}
