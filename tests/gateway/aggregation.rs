//! Responses made of those of several services: `calls`, `dependencies`, and who joins them.

mod calls;
mod dependencies;
mod plugins;

use crate::support::{Origin, Setup};

/// An origin that answers each target with the JSON that `answer` has for it; 404 for `None`.
fn json_origin(answer: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Origin {
    Origin::scripted(move |connection, _| {
        while let Some(request) = connection.request() {
            let answered = match answer(&request.target) {
                Some(body) => connection.send(json(&body)),
                None => connection.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
            };
            if !answered {
                return;
            }
        }
    })
}

/// A response with this JSON.
fn json(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nETag: \"1\"\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// An origin that answers everything with this JSON.
fn saying(body: &'static str) -> Origin {
    json_origin(move |_| Some(body.to_owned()))
}

/// The targets that an origin was asked for, sorted.
fn targets(origin: &Origin) -> Vec<String> {
    let requests = origin.requests();
    let mut targets: Vec<_> = requests.into_iter().map(|request| request.target).collect();
    targets.sort_unstable();
    targets
}

/// A service `name` at `/name` that points to `origin`.
fn with_service(setup: Setup, name: &str, origin: &Origin) -> Setup {
    let url = origin.url();
    setup.service(&format!("name: {name}, basePath: /{name}, targets: ['{url}']"))
}
