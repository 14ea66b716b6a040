//! Routes: precedence, spelling of hosts, many services.

use super::*;
use crate::http::message::Method;
use crate::route::matcher::{Condition, Test};

fn request(method: Method, authority: &str, path: &str, query: &str) -> RequestHead {
    RequestHead {
        method,
        authority: authority.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        ..RequestHead::default()
    }
}

fn get(authority: &str, path: &str) -> RequestHead {
    request(Method::Get, authority, path, "")
}

fn hosts(list: &[&str]) -> Vec<String> {
    list.iter().map(|host| (*host).to_owned()).collect()
}

fn plain(base_paths: &[&str]) -> Table {
    let rules = base_paths.iter().enumerate();
    Table::new(rules.map(|(at, base_path)| (Rule { base_path, ..Rule::default() }, at)))
}

#[test]
fn the_longest_base_path_on_a_segment_border_wins() {
    let few = plain(&["/", "/api", "/api/users"]);
    let many: Vec<String> = (0..50).map(|at| format!("/x{at}/y")).collect();
    let many: Vec<&str> =
        ["/", "/api", "/api/users"].into_iter().chain(many.iter().map(String::as_str)).collect();
    let many = plain(&many);
    for (path, service) in [
        ("/", 0),
        ("/apis", 0),
        ("/api", 1),
        ("/api/", 1),
        ("/api/user", 1),
        ("/api/users", 2),
        ("/api/users/7", 2),
        ("/api/users/7/8/9/10/11/12", 2),
        ("//", 0),
    ] {
        assert_eq!(few.find(&get("", path)), Some(service), "{path}");
        assert_eq!(many.find(&get("", path)), Some(service), "{path}");
    }
    assert_eq!(many.find(&get("", "/x7/y/z")), Some(10));
    assert_eq!(many.find(&get("", "/x7")), Some(0));
    assert_eq!(plain(&["/api"]).find(&get("", "/other")), None);
    let none: Vec<String> = (0..50).map(|at| format!("/x{at}")).collect();
    let none = plain(&none.iter().map(String::as_str).collect::<Vec<_>>());
    for path in ["/", "/other", "/x1x", "*", ""] {
        assert_eq!(none.find(&get("", path)), None, "{path}");
    }
}

#[test]
fn a_host_that_is_named_is_better_than_a_wildcard_is_better_than_none() {
    let (exact, near, far) =
        (hosts(&["a.b.example"]), hosts(&["*.b.example"]), hosts(&["*.example"]));
    let none = hosts(&[]);
    let rule = |hosts, base_path| Rule { hosts, base_path, ..Rule::default() };
    let table = Table::new(
        [
            (rule(&none, "/deep/path"), 0),
            (rule(&far, "/"), 1),
            (rule(&near, "/"), 2),
            (rule(&exact, "/"), 3),
            (rule(&exact, "/deep"), 4),
            (rule(&none, "/"), 5),
        ]
        .into_iter(),
    );
    for (host, path, service) in [
        ("a.b.example", "/", 3),
        ("a.b.example", "/deep/path", 4),
        ("A.B.Example.:8080", "/x", 3),
        ("x.b.example", "/", 2),
        ("x.y.b.example", "/", 2),
        ("b.example", "/", 1),
        ("x.example:443", "/", 1),
        ("example", "/", 5),
        ("evil-b.example", "/", 1),
        ("a.b.example.evil", "/", 5),
        ("[::1]:80", "/deep/path", 0),
        ("", "/deep/path/x", 0),
        (&"a.".repeat(300), "/", 5),
    ] {
        assert_eq!(table.find(&get(host, path)), Some(service), "{host} {path}");
    }
}

#[test]
fn where_the_best_host_has_nothing_that_fits_the_next_one_is_asked() {
    let exact = hosts(&["a.example"]);
    let table = Table::new(
        [
            (Rule { hosts: &exact, base_path: "/only", ..Rule::default() }, 0),
            (Rule { base_path: "/", ..Rule::default() }, 1),
        ]
        .into_iter(),
    );
    assert_eq!(table.find(&get("a.example", "/only/this")), Some(0));
    assert_eq!(table.find(&get("a.example", "/other")), Some(1));
}

#[test]
fn methods_and_conditions_tell_services_of_one_path_apart() {
    let is = |name: &str, value: &str| Condition::new(name, Test::Is(value.to_owned()));
    let matchers = [
        Matcher::default(),
        Matcher { methods: vec![Method::Post], ..Matcher::default() },
        Matcher { fields: vec![is("X-Canary", "yes")], ..Matcher::default() },
        Matcher { query: vec![is("v", "2")], ..Matcher::default() },
        Matcher { fields: vec![is("x-canary", "yes"), is("X-Other", "1")], ..Matcher::default() },
    ];
    let rules = matchers.into_iter().enumerate();
    let table = Table::new(
        rules.map(|(at, matcher)| (Rule { matcher, base_path: "/", ..Rule::default() }, at)),
    );
    let ask = |method, query: &str, fields: &[(&str, &str)]| {
        let mut request = request(method, "a", "/x", query);
        for (name, value) in fields {
            request.fields.push(name.as_bytes(), value.as_bytes());
        }
        table.find(&request)
    };
    let canary = ("X-Canary", "yes");
    assert_eq!(ask(Method::Get, "", &[]), Some(0));
    assert_eq!(ask(Method::Post, "", &[]), Some(1));
    assert_eq!(ask(Method::Post, "?v=2", &[canary]), Some(1), "the method comes first");
    assert_eq!(ask(Method::Get, "", &[canary]), Some(2));
    assert_eq!(ask(Method::Get, "?v=2", &[canary]), Some(2));
    assert_eq!(ask(Method::Get, "?a=1&v=2", &[]), Some(3));
    assert_eq!(ask(Method::Get, "", &[canary, ("X-Other", "1")]), Some(4));
    assert_eq!(ask(Method::Get, "?v=3", &[("X-Canary", "no")]), Some(0));
    assert_eq!(ask(Method::Get, "?v=%32", &[]), Some(3), "an escape is what it stands for");
}

#[test]
fn stripping_leaves_a_path() {
    assert_eq!(strip("/api/users", "/api"), "/users");
    assert_eq!(strip("/api", "/api"), "/");
    assert_eq!(strip("/x", "/"), "/x");
    assert_eq!(strip("/apis", "/api"), "/apis");
    assert_eq!(strip("/x", "/api"), "/x");
}
