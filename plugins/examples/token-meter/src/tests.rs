use odin_plugin::testing::Gateway;
use serde_json::json;

use super::usage::{Usage, of};
use super::*;

fn chat(text: &str) -> String {
    format!("data: {}\n\n", json!({"choices": [{"delta": {"content": text}}]}))
}

#[test]
fn what_events_say_of_tokens_is_read() {
    for (data, usage) in [
        (json!({"choices": [{"delta": {"content": "Hel"}}]}), Usage::Text),
        (json!({"choices": [{"delta": {"role": "assistant", "content": ""}}]}), Usage::None),
        (json!({"choices": [], "usage": {"completion_tokens": 7}}), Usage::Told(7)),
        (json!({"type": "content_block_delta", "delta": {"text": "lo"}}), Usage::Text),
        (json!({"type": "message_delta", "usage": {"output_tokens": 12}}), Usage::Told(12)),
        (json!({"type": "response.output_text.delta", "delta": "x"}), Usage::Text),
        (json!({"type": "ping"}), Usage::None),
    ] {
        assert_eq!(of(&data.to_string()), usage, "{data}");
    }
    assert_eq!((of("[DONE]"), of(""), of("plain")), (Usage::None, Usage::None, Usage::Text));
}

#[test]
fn a_stream_ends_where_the_budget_is_spent_and_no_other_begins() {
    let mut gateway = Gateway::<Meter>::new(json!({"budget": 3}));
    let mut body = gateway.body::<Answer>("http://host/chat", "text/event-stream");
    for word in ["a", "b", "c"] {
        assert_eq!(body.event(&chat(word)), Ok(chat(word)));
    }
    let last = body.event(&chat("d")).unwrap();
    let told = last.strip_prefix("event: error\ndata: ").unwrap();
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    assert_eq!(told, json!({"error": {"type": "budget_exceeded", "budget": 3}}));
    assert!(body.has_ended());
    let refused = gateway.request("POST", "http://host/chat", &[], "");
    assert_eq!(refused["response"]["statusCode"], 429);
}

#[test]
fn the_senders_own_count_is_the_last_word() {
    let mut gateway = Gateway::<Meter>::new(json!({"budget": 10}));
    let mut body = gateway.body::<Answer>("http://host/chat", "text/event-stream");
    body.event(&chat("a")).unwrap();
    let told = format!("data: {}\n\n", json!({"usage": {"completion_tokens": 10}}));
    assert_eq!(body.event(&told), Ok(told));
    assert!(!body.has_ended());
    assert_eq!(gateway.request("POST", "http://host/", &[], "")["response"]["statusCode"], 429);
}
