//! What a change goes on with if making it has panicked.

use std::panic::AssertUnwindSafe;

/// Lets `subject` do a piece of work and gives it back, with what a panic said if there was one.
/// There is no known way to cause one; whatever a panic left half done in a compiler, the next
/// configuration is compiled anew.
pub(super) fn surviving<S, T>(
    mut subject: S,
    work: impl FnOnce(&mut S) -> T,
) -> (S, Result<T, String>) {
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| work(&mut subject)));
    let outcome = outcome.map_err(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("no words").lines().next().unwrap_or_default().to_owned()
    });
    (subject, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_survives_a_panic_and_goes_on() {
        let (compiler, outcome) = surviving(1, |_: &mut i32| -> () { panic!("at {}", 7) });
        assert_eq!((compiler, outcome), (1, Err("at 7".to_owned())));
        let (compiler, outcome) = surviving(compiler, |count| *count += 1);
        assert_eq!((compiler, outcome), (2, Ok(())));
    }
}
