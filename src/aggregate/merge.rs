//! The answers of `calls`, put together where no plugin does it.

use super::json;

/// The JSON of an answer, or why it has none that could be taken over. An empty body is null.
///
/// # Errors
/// The status is not 2xx, or the body is not JSON.
pub fn usable(status: u16, body: &[u8]) -> Result<&str, String> {
    if !(200..300).contains(&status) {
        return Err(format!("it answered {status}"));
    }
    match body.trim_ascii() {
        b"" => Ok("null"),
        body => json::text_of(body).ok_or_else(|| "its answer is not JSON".to_owned()),
    }
}

/// One object with each text under its name. The texts are JSON.
pub fn merge<'a>(named: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (name, text) in named {
        if out.len() > 1 {
            out.push(b',');
        }
        json::write_name(name, &mut out);
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_stand_under_their_names_as_they_came() {
        let named = [("users", r#"[ {"n":1.0} ]"#), ("a.b", "null")];
        assert_eq!(merge(named.into_iter()), br#"{"users":[ {"n":1.0} ],"a.b":null}"#);
        assert_eq!(merge(std::iter::empty()), b"{}");
    }

    #[test]
    fn only_json_of_a_success_is_usable() {
        assert_eq!(usable(200, b" {} "), Ok("{}"));
        assert_eq!(usable(204, b""), Ok("null"));
        assert_eq!(usable(404, b"{}").unwrap_err(), "it answered 404");
        assert_eq!(usable(200, b"<p>").unwrap_err(), "its answer is not JSON");
        assert_eq!(usable(302, b"").unwrap_err(), "it answered 302");
    }
}
