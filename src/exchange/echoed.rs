//! `builtin:echo` in the place of an endpoint.

use super::forward::Payload;
use super::mirror::Copy;
use super::{Exchange, Messages, Reply};
use crate::error::Error;
use crate::http::message::BodyLength;
use crate::http::relay::{BodySource, NoSource};
use crate::upstream::echo;

impl Exchange<'_> {
    /// Answers with the request as a target would have seen it.
    pub(super) async fn answer_by_echo(
        &self,
        mut messages: Messages<'_>,
        payload: Payload,
        copy: Option<Box<Copy>>,
        body: &mut impl BodySource,
        reply: &mut impl Reply,
    ) -> Result<u16, Error> {
        let request = messages.request;
        let bytes = self.echo_body(request, payload, body, reply).await?;
        if let Some(copy) = copy {
            copy.send(Some(&bytes));
        }
        let path = &*self.origin_path(request);
        let mut seen = request.clone();
        self.edit_for_target(&mut seen.fields);
        seen.fields.set_all(&self.fields_for_target(request));
        let local = echo::answer(&seen, (self.asker.scheme, &request.authority), path, &bytes);
        let response = &mut *messages.response;
        response.status = local.status;
        response.fields = local.fields;
        response.body = BodyLength::Known(local.body.len() as u64);
        let memory = Some(local.body);
        self.respond(&mut messages, memory, &mut NoSource, reply, || true).await
    }
}
