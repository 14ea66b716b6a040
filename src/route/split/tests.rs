//! Shares come out as weighed, and who is kept stays.

use std::net::Ipv4Addr;

use super::*;
use crate::route::matcher::{Condition, Test};

const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn split(weights: &[u32], sticky: Option<Sticky>) -> Split {
    let branches = weights.iter().enumerate().map(|(service, &weight)| Branch {
        service,
        name: format!("v{service}"),
        weight,
        when: None,
    });
    Split { branches: branches.collect(), sticky }
}

/// Numbers that look like chance, the same ones each time.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

fn with(name: &str, value: &str) -> RequestHead {
    let mut request = RequestHead::default();
    request.fields.push(name.as_bytes(), value.as_bytes());
    request
}

#[test]
fn each_branch_gets_its_share_and_none_without_a_weight_gets_any() {
    for seed in 0..20 {
        let mut next = numbers(seed);
        let weights = [90, 0, 9, 1];
        let split = split(&weights, None);
        let mut counts = [0u32; 4];
        for _ in 0..20_000 {
            counts[split.choose(&RequestHead::default(), HOME, &mut next).branch] += 1;
        }
        for (weight, count) in weights.iter().zip(counts) {
            let expected = weight * 200;
            assert!(count.abs_diff(expected) <= expected / 10 + 60 * u32::from(*weight > 0));
        }
    }
    let edges = split(&[1, 1], None);
    for (point, branch) in [(0, 0), (u64::MAX / 2, 0), (u64::MAX / 2 + 1, 1), (u64::MAX, 1)] {
        assert_eq!(edges.at(point), branch);
    }
}

#[test]
fn a_key_stays_where_it_is_and_keys_are_shared_out_by_weight() {
    let sticky = Sticky::Header("x-user".to_owned());
    let (before, after) = (split(&[95, 5], Some(sticky.clone())), split(&[80, 20], Some(sticky)));
    let (mut canaries, mut more) = (0, 0);
    for user in 0..10_000 {
        let request = with("X-User", &format!("user-{user}"));
        let chosen = before.choose(&request, HOME, || panic!("no chance in it"));
        assert_eq!(chosen, before.choose(&request, HOME, || 0));
        let later = after.choose(&request, HOME, || 0).branch;
        assert!(chosen.branch == 0 || later == 1, "who has seen the new one keeps it");
        canaries += chosen.branch;
        more += later;
    }
    assert!((400..600).contains(&canaries) && (1_850..2_150).contains(&more), "{canaries} {more}");
}

#[test]
fn a_cookie_of_the_gateway_is_kept_to_while_its_branch_has_a_weight() {
    let sticky = Some(Sticky::Set("split".to_owned(), None));
    let shared = split(&[1, 1, 0], sticky);
    let of = |value: &str| shared.choose(&with("Cookie", value), HOME, || 0);
    assert_eq!(of("a=b; split=v1"), Chosen { branch: 1, is_news: false });
    assert_eq!(of("split=v2"), Chosen { branch: 0, is_news: true }, "it gets none any more");
    assert_eq!(of("split=v9"), Chosen { branch: 0, is_news: true });
    assert_eq!(of("xsplit=v1"), Chosen { branch: 0, is_news: true });
}

#[test]
fn what_a_request_says_comes_before_chance_and_habit() {
    let mut shared = split(&[1, 0], Some(Sticky::Address));
    let is = Test::Is("yes".to_owned());
    let fields = vec![Condition::new("x-canary", is)];
    shared.branches[1].when = Some(Matcher { fields, ..Matcher::default() });
    assert_eq!(shared.choose(&with("X-Canary", "yes"), HOME, || 0).branch, 1);
    assert_eq!(shared.choose(&with("X-Canary", "no"), HOME, || u64::MAX).branch, 0);
}
