//! What an event of a language model's answer says of the tokens in it: by the formats of OpenAI
//! (chat completions, responses) and Anthropic (messages), and of those who speak like them.

use serde_json::Value;

/// What an event brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Usage {
    /// The tokens of the whole answer so far, as its sender counts them.
    Told(i64),
    /// Some text: one token, as these senders send each.
    Text,
    /// Neither: a comment, a beginning, an end.
    None,
}

/// Where a sender tells of the tokens that it has made.
const TOLD: [&str; 4] = [
    "/usage/completion_tokens",
    "/usage/output_tokens",
    "/response/usage/output_tokens",
    "/message/usage/output_tokens",
];

/// Where the text of an event stands. An empty one is none.
const TEXTS: [&str; 5] =
    ["/choices/0/delta/content", "/choices/0/text", "/delta/text", "/delta", "/response"];

/// What an event's data says.
pub(crate) fn of(data: &str) -> Usage {
    if data.is_empty() || data == "[DONE]" {
        return Usage::None;
    }
    let Ok(value) = serde_json::from_str::<Value>(data) else {
        return Usage::Text; // not JSON: it is text itself
    };
    let told = TOLD.iter().filter_map(|place| value.pointer(place)?.as_i64());
    if let Some(tokens) = told.max().filter(|tokens| *tokens > 0) {
        return Usage::Told(tokens);
    }
    let mut texts = TEXTS.iter().filter_map(|place| value.pointer(place)?.as_str());
    match texts.any(|text| !text.is_empty()) {
        true => Usage::Text,
        false => Usage::None,
    }
}
