//! Bodies that plugins read, without their content codings.
//!
//! What a plugin cannot read it can neither hide nor refuse, so a coding that a client or an origin
//! may choose must not lead past it.

use super::Exchange;
use crate::error::Error;
use crate::http::coding::{self, Codings, Failure, KNOWN};
use crate::http::message::{BodyLength, Fields, ResponseHead};
use crate::plugin::Encoding;

/// A body as it goes on, if it is whole in memory; else what has been read of it.
pub(super) type Read = (Option<Vec<u8>>, Vec<u8>);

const UNKNOWN: Error = Error::BadResponse(
    "response body has a content coding that a plugin could not read (encoding of the plugin)",
);
const IN_PARTS: Error = Error::BadResponse(
    "response body is a part of one with a content coding, which a plugin could not read",
);
const NOT_SO: &str = "body is not what its Content-Encoding says";

/// What has to be undone of a request's body for the plugins that read it.
pub(super) fn of_request(encoding: Encoding, fields: &Fields) -> Result<Option<Codings>, Error> {
    let refused = |accepted| Err(Error::UnsupportedContentCoding(accepted));
    match (encoding, Codings::of(fields)) {
        (Encoding::Raw, _) | (_, Ok(None)) => Ok(None),
        (Encoding::Decode, Ok(codings)) => Ok(codings),
        (Encoding::Decode, Err(_)) => refused(KNOWN),
        (Encoding::Identity, _) => refused("identity"),
    }
}

/// As [`of_request`], of a response's.
pub(super) fn of_response(
    encoding: Encoding,
    response: &ResponseHead,
) -> Result<Option<Codings>, Error> {
    match (encoding, Codings::of(&response.fields)) {
        (Encoding::Raw, _) | (_, Ok(None)) => Ok(None),
        (Encoding::Decode, Ok(_)) if response.status == 206 => Err(IN_PARTS),
        (Encoding::Decode, Ok(codings)) => Ok(codings),
        (Encoding::Decode, Err(_)) | (Encoding::Identity, _) => Err(UNKNOWN),
    }
}

/// Makes the head of a response without a body (to HEAD, 304) that of the plain one.
pub(super) fn describe_without_body(response: &mut ResponseHead) {
    coding::describe_plain(&mut response.fields);
    response.body = BodyLength::Unknown;
}

/// Why a body is refused that cannot be made plain.
pub(super) struct Refusals {
    pub(super) too_large: Error,
    pub(super) malformed: Error,
}

/// Those of a request's body.
pub(super) const OF_REQUEST: Refusals =
    Refusals { too_large: Error::BodyTooLarge, malformed: Error::BadRequestBody(NOT_SO) };
/// Those of a response's body.
pub(super) const OF_RESPONSE: Refusals =
    Refusals { too_large: Error::ResponseTooLarge, malformed: Error::BadResponseBody(NOT_SO) };

impl Exchange<'_> {
    /// The plain body of a message that has been read whole, and its head's `fields` made to say
    /// so.
    pub(super) async fn plain(
        &self,
        codings: Option<Codings>,
        coded: Vec<u8>,
        fields: &mut Fields,
        refusals: Refusals,
    ) -> Result<Read, Error> {
        let Some(codings) = codings else {
            return Ok((Some(coded), Vec::new()));
        };
        let bytes_max = self.snapshot.limits.plugin_body_bytes_max;
        // Boxed: other exchanges shall not be as large as those that decode.
        match Box::pin(codings.undo(&coded, bytes_max, &self.held)).await {
            Ok(plain) => {
                self.held.give_back(coded);
                coding::describe_plain(fields);
                Ok((Some(plain), Vec::new()))
            }
            Err(Failure::TooLarge) if self.selected.rejects_large_bodies() => {
                Err(refusals.too_large)
            }
            // It passes the plugins, as it came.
            Err(Failure::TooLarge) => Ok((None, coded)),
            Err(Failure::Malformed) => Err(refusals.malformed),
            Err(Failure::NoRoom(error)) => Err(error),
        }
    }
}
