//! Of where else requests of a service go: parts of a `split`, copies by a `mirror`.

use super::Totals;
use super::text::Text;
use crate::exchange::counts::MirrorResult;

pub(super) fn families(text: &mut Text, totals: &Totals) {
    let family = "odin_split_requests_total";
    text.family(family, "counter", "Requests of a service that splits them, by where they went.");
    for (service, counts) in &totals.services {
        for (part, count) in &counts.parts {
            text.line(family, &[("service", service.as_str()), ("part", part)], count);
        }
    }
    let family = "odin_mirrored_total";
    text.family(family, "counter", "Copies of requests, by what became of them.");
    for (service, counts) in &totals.services {
        let Some(mirrored) = &counts.mirrored else { continue };
        for (result, count) in MirrorResult::ALL.into_iter().zip(mirrored.iter()) {
            let labels = [("service", service.as_str()), ("result", result.as_str())];
            text.line(family, &labels, count);
        }
    }
}
