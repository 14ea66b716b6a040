//! `env.get_config`: one value of the plugin's own `config`.
//!
//! The values belong to the host and stay where they are as long as the instance lives, like those
//! of C's `getenv`: the guest neither frees nor writes them. A configuration never changes under an
//! instance, so each value is put into guest memory once. What is kept of that outside of the
//! guest's memory is bounded: values beyond are good for one call, and put there again for each.

use serde_json::Value;
use wasmtime::{Caller, Linker};

use super::super::failure::CallError;
use super::super::memory;
use super::super::state::HostState;
use super::{LinkResult, Served, bytes, memory_of};
use crate::limits;

pub(super) fn serve(linker: &mut Linker<HostState>, types: &str) -> LinkResult {
    match types {
        "i32 -> i32" => {
            linker.func_wrap_async("env", "get_config", |caller, (key,): (i32,)| {
                Box::new(get_config_c(caller, key))
            })?;
        }
        "i32 i32 -> i64" => {
            linker.func_wrap_async("env", "get_config", |caller, (key, length): (i32, i32)| {
                Box::new(get_config_packed(caller, key, length))
            })?;
        }
        _ => return Ok(Served::No),
    }
    Ok(Served::Yes)
}

/// `char *get_config(char *key)`: NUL-terminated in and out, 0 if there is no such key.
async fn get_config_c(mut caller: Caller<'_, HostState>, key: i32) -> wasmtime::Result<i32> {
    let memory = memory_of(&mut caller)?;
    let data = memory.data(&caller);
    let start = key.cast_unsigned() as usize;
    let rest = data.get(start..).unwrap_or_default();
    let window = &rest[..rest.len().min(limits::PLUGIN_CONFIG_KEY_BYTES_MAX + 1)];
    let Some(length) = memchr::memchr(0, window) else {
        let most = limits::PLUGIN_CONFIG_KEY_BYTES_MAX;
        let text = format!("get_config: no NUL ends the key at {start} within {most} bytes");
        return Err(CallError::trap(text).into());
    };
    let key = window[..length].to_vec();
    let (address, _) = value_of(caller, key).await?;
    Ok(address.cast_signed())
}

/// `get_config(ptr, len) -> i64`: the address in the low, the length in the high 32 bits; 0 if
/// there is no such key.
async fn get_config_packed(
    mut caller: Caller<'_, HostState>,
    key: i32,
    length: i32,
) -> wasmtime::Result<i64> {
    let (key, _) = bytes(&mut caller, "get_config", key, length)?;
    if key.len() > limits::PLUGIN_CONFIG_KEY_BYTES_MAX {
        return Ok(0);
    }
    let key = key.to_vec();
    let (address, length) = value_of(caller, key).await?;
    Ok((u64::from(length) << 32 | u64::from(address)).cast_signed())
}

/// Where the value of `key` stands in guest memory; `(0, 0)` if there is none.
async fn value_of(
    mut caller: Caller<'_, HostState>,
    key: Vec<u8>,
) -> Result<(u32, u32), CallError> {
    if let Some(&placed) = caller.data().config_values.get(&key) {
        return Ok(placed);
    }
    let Some(value) = find(caller.data().plugin.spec.config(), &key) else {
        return Ok((0, 0));
    };
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let memory = memory_of(&mut caller)?;
    // A configuration is far smaller than 4 GiB.
    let length = text.len() as u32;
    if caller.data().config_values.len() >= limits::PLUGIN_CONFIG_VALUES_KEPT_MAX {
        let mut text = text.into_bytes();
        text.push(0);
        let address = memory::reply(&mut caller, memory, &text).await?;
        return Ok((address, length));
    }
    let address = memory::place(&mut caller, memory, text.as_bytes()).await?;
    caller.data_mut().config_values.insert(key, (address, length));
    Ok((address, length))
}

/// The value at `key`: a key as it stands, else a path of keys (and places in lists) with dots
/// between them; the whole for the empty key. (Written by what writes it into inputs, so a guest
/// can compare the two.)
fn find<'a>(config: &'a Value, key: &[u8]) -> Option<&'a Value> {
    let key = std::str::from_utf8(key).ok()?;
    if let Some(value) = config.get(key) {
        return Some(value);
    }
    if key.is_empty() {
        return Some(config);
    }
    key.split('.').try_fold(config, |value, part| match value {
        Value::Object(object) => object.get(part),
        Value::Array(list) => list.get(index(part)?),
        _ => None,
    })
}

/// A place in a list as JSON would write it: one spelling (not `+1`, not `01`), so that each value
/// has one key and is put into the guest's memory once.
fn index(part: &str) -> Option<usize> {
    let is_canonical = part == "0" || !part.starts_with(['0', '+']);
    if is_canonical { part.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys_reach_nested_values_and_plain_keys_win() {
        let config = serde_json::json!({
            "limit": 100, "a.b": "plain", "a": {"b": "nested", "c": [{"d": true}]}
        });
        assert_eq!(find(&config, b"limit"), Some(&Value::from(100)));
        assert_eq!(find(&config, b"a.b"), Some(&Value::from("plain")));
        assert_eq!(find(&config, b"a.c.0.d"), Some(&Value::from(true)));
        assert_eq!(find(&config, b"a.x"), None);
        assert_eq!(find(&config, b""), Some(&config), "the whole");
        assert_eq!(find(&serde_json::json!({"": 7}), b""), Some(&Value::from(7)));
        assert_eq!(find(&config, b"limit.x"), None);
        assert_eq!(find(&config, b"\xff"), None);
    }

    #[test]
    fn a_place_in_a_list_has_one_spelling() {
        let config = serde_json::json!({"list": ["a", "b"], "object": {"01": "c"}});
        assert_eq!(find(&config, b"list.1"), Some(&Value::from("b")));
        for key in ["list.01", "list.+1", "list.00", "list.-0", "list.", "list. 1", "list.1 "] {
            assert_eq!(find(&config, key.as_bytes()), None, "{key}");
        }
        assert_eq!(find(&config, b"object.01"), Some(&Value::from("c")));
    }
}
