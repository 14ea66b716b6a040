//! Configuration files: whatever the bytes, a configuration or errors that have a place.

use odin::control::config;

/// One input: a whole file.
pub fn run(input: &[u8]) {
    let env = |name: &str| (name.len() < 4).then(|| name.to_lowercase());
    let Err(errors) = config::parse_bytes(input, "odin.yaml", &env) else {
        return;
    };
    assert!(!errors.errors().is_empty());
    for error in errors.errors() {
        let place = error.place.expect("an error of a file that could be read has a place");
        assert!(place.line >= 1 && place.column >= 1, "{error:?}");
        // To YAML a lone CR ends a line, too.
        let lines = input.split(|&byte| byte == b'\n' || byte == b'\r').count();
        assert!(place.line <= lines + 1, "{error:?} of {lines} lines");
        assert!(!error.text.contains('\n'), "{error:?}");
    }
    assert!(!errors.to_string().is_empty());
}
