//! What a service does for its clients beside passing responses on, as JSON: see [`super::view`].

use serde_json::{Value, json};

use super::model_clients::{Cors, CorsOrigin};
use super::value;
use crate::http::compression::Compression;

pub(super) fn compression(compression: &Compression) -> Value {
    let codings: Vec<_> = compression.codings.iter().map(|coding| coding.as_str()).collect();
    let types: Vec<_> = compression.types.iter().map(|one| one.show()).collect();
    json!({ "codings": codings, "types": types, "minBytes": compression.bytes_min })
}

pub(super) fn cors(cors: &Cors) -> Value {
    let names = |names: &Option<Vec<String>>| names.clone().unwrap_or_else(|| vec!["*".to_owned()]);
    let origins: Vec<_> = cors.origins.iter().map(origin).collect();
    json!({
        "origins": origins,
        "methods": names(&cors.methods),
        "headers": names(&cors.headers),
        "exposeHeaders": names(&cors.expose),
        "credentials": cors.credentials,
        "maxAge": cors.max_age.map(value::show_duration),
    })
}

fn origin(origin: &CorsOrigin) -> Value {
    match origin {
        CorsOrigin::Any => json!("*"),
        CorsOrigin::Is(origin) => json!(origin),
        CorsOrigin::Below(scheme, rest) => json!(format!("{scheme}*{rest}")),
        CorsOrigin::Fits(expression) => json!({ "regex": expression }),
    }
}
