//! What a service's targets get of a request in the place of what the client has sent: its path,
//! header fields. And where there is no target, because the client is sent elsewhere.

use std::borrow::Cow;

use super::{Exchange, Messages, Reply, annotate, may_keep_alive};
use crate::error::Error;
use crate::http::message::{Fields, LocalResponse, RequestHead};
use crate::http::relay::BodySource;
use crate::route::edit::Redirect;
use crate::route::table::{is_under, strip};

impl Exchange<'_> {
    /// The path as the origin gets it.
    pub(super) fn origin_path<'p>(&self, request: &'p RequestHead) -> Cow<'p, str> {
        let service = self.service;
        if service.strip_base_path {
            return Cow::Borrowed(strip(&request.path, &service.base_path));
        }
        match &service.rewrite {
            None => Cow::Borrowed(&request.path),
            Some(rewrite) => rewrite.path(&service.base_path, &request.path),
        }
    }

    /// What is set on a request to the service's own targets. Nobody else is sent it: there may be
    /// secrets among it.
    pub(super) fn fields_for_target(&self, request: &RequestHead) -> Cow<'_, Fields> {
        if !self.service.strip_base_path {
            return Cow::Borrowed(&self.service.fields);
        }
        let is_under = is_under(&request.path, &self.service.base_path);
        annotate::for_target(self.service, &request.fields, is_under)
    }

    /// What else becomes of the fields of a request to those.
    pub(super) fn edit_for_target(&self, fields: &mut Fields) {
        if let Some(edit) = &self.service.request_edit {
            edit.apply(fields);
        }
    }

    /// The head of a request with that done, if there is something to do.
    pub(super) fn edited_for_target(&self, request: &RequestHead) -> Option<Box<RequestHead>> {
        self.service.request_edit.as_ref()?;
        let mut edited = Box::new(request.clone());
        self.edit_for_target(&mut edited.fields);
        Some(edited)
    }

    /// Sends the client elsewhere.
    pub(super) async fn redirect(
        &self,
        to: &Redirect,
        messages: Messages<'_>,
        body: &impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let Messages { request, response, .. } = messages;
        let mut local = LocalResponse { status: to.status, ..LocalResponse::default() };
        let location = to.location(self.asker.scheme.as_str(), request);
        local.fields.push(b"Location", location.as_bytes());
        if let Some(edit) = &self.service.response_edit {
            edit.apply(&mut local.fields);
        }
        response.status = to.status;
        let keep_alive = may_keep_alive(request, body, reply);
        self.send_instead(local, keep_alive, reply).await
    }
}
