//! The outcomes as JUnit's XML, which every CI reads.

use std::fmt::Write;

use super::cases::Outcome;

/// The whole document.
pub(crate) fn document(outcomes: &[Outcome]) -> String {
    let failed = outcomes.iter().filter(|outcome| !outcome.failures.is_empty()).count();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    // Writing to a String does not fail.
    let _ = writeln!(
        xml,
        "<testsuites><testsuite name=\"odin-cli test\" tests=\"{}\" failures=\"{failed}\">",
        outcomes.len()
    );
    for outcome in outcomes {
        let (suite, name) = (escaped(&outcome.suite), escaped(&outcome.name));
        let took = outcome.took.as_secs_f64();
        let _ = write!(xml, "<testcase classname=\"{suite}\" name=\"{name}\" time=\"{took:.3}\">");
        if !outcome.failures.is_empty() {
            let text = escaped(&outcome.failures.join("\n"));
            let _ = write!(xml, "<failure message=\"not as expected\">{text}</failure>");
        }
        xml.push_str("</testcase>\n");
    }
    xml.push_str("</testsuite></testsuites>\n");
    xml
}

/// As it may stand in XML: control characters cannot, whatever is written for them.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(letter),
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}
