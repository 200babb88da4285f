//! Events made from events: what a delivery caused, and what a dead letter sink gets.
//!
//! Causation is stamped here and nowhere else, so no sink can leave a loop without its count.

use dispatch_contract::{Event, EventError, Outcome, ext};

const ERROR_DEST: &str = "knativeerrordest";
const ERROR_CODE: &str = "knativeerrorcode";
const ERROR_DATA: &str = "knativeerrordata";
/// Knative's bound on `knativeerrordata`.
const MAX_ERROR_DATA: usize = 1024;
/// The longest reason that is kept with a failed attempt, in bytes.
const MAX_REASON: usize = 512;

/// How many events lie between the first one and this one.
pub(crate) fn hops(event: &Event) -> u32 {
    event
        .attribute(ext::HOPS)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

/// `caused`, as an event that `cause` brought about, whatever the sink wrote there. For the router, and for whoever
/// calls a sink without it.
pub fn stamp(cause: &Event, caused: &Event) -> Result<Event, EventError> {
    let correlation = cause.attribute(ext::CORRELATION).unwrap_or(cause.id());
    let hops = hops(cause).saturating_add(1);
    caused
        .to_builder()
        .attribute(ext::CAUSATION, cause.id())
        .attribute(ext::CORRELATION, correlation)
        .attribute(ext::HOPS, i32::try_from(hops).unwrap_or(i32::MAX))
        .build()
}

/// The event with Knative's extensions about why it could not be delivered (Knative eventing, "Handling
/// delivery failure"). An event that has no room for them goes as it is.
pub(crate) fn dead_letter(event: &Event, destination: &str, outcome: &Outcome) -> Event {
    let (reason, code) = match outcome {
        Outcome::Accepted => ("", None),
        Outcome::Released { reason, code, .. } | Outcome::Rejected { reason, code } => {
            (reason.as_str(), *code)
        }
    };
    let mut builder = event
        .to_builder()
        .attribute(ERROR_DEST, one_line(destination, MAX_ERROR_DATA))
        .attribute(ERROR_DATA, one_line(reason, MAX_ERROR_DATA));
    if let Some(code) = code {
        builder = builder.attribute(ERROR_CODE, i32::from(code));
    }
    builder.build().unwrap_or_else(|_| event.clone())
}

/// A reason as it is kept: one line, not too long.
pub(crate) fn reason(text: &str) -> String {
    one_line(text, MAX_REASON)
}

fn one_line(text: &str, max: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() > max {
            break;
        }
        line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causation_is_stamped_over_what_the_sink_wrote() {
        let first = Event::builder("first", "/s", "t").build().unwrap();
        let reply = Event::builder("reply", "/f", "t")
            .attribute(ext::HOPS, 0)
            .attribute(ext::CAUSATION, "somebody else")
            .json("[1]")
            .build()
            .unwrap();

        let second = stamp(&first, &reply).unwrap();
        let third = stamp(&second, &reply).unwrap();

        assert_eq!(second.attribute(ext::CAUSATION), Some("first"));
        assert_eq!(second.attribute(ext::CORRELATION), Some("first"));
        assert_eq!(second.attribute(ext::HOPS), Some("1"));
        assert_eq!(third.attribute(ext::CAUSATION), Some("reply"));
        assert_eq!(third.attribute(ext::CORRELATION), Some("first"));
        assert_eq!(hops(&third), 2);
        assert_eq!(third.data().unwrap().bytes, b"[1]");
    }

    #[test]
    fn a_dead_letter_says_why_in_one_short_line() {
        let event = Event::builder("1", "/s", "t").build().unwrap();
        let outcome = Outcome::Rejected {
            reason: format!("no\nway {}", "ä".repeat(2000)),
            code: Some(400),
        };

        let dead = dead_letter(&event, "http://sink", &outcome);

        assert_eq!(dead.attribute(ERROR_DEST), Some("http://sink"));
        assert_eq!(dead.attribute(ERROR_CODE), Some("400"));
        let data = dead.attribute(ERROR_DATA).unwrap();
        assert!(data.starts_with("no way ä") && data.len() <= MAX_ERROR_DATA);
    }

    #[test]
    fn an_event_without_room_for_the_reasons_is_still_a_dead_letter() {
        let mut builder = Event::builder("1", "/s", "t");
        for n in 3..dispatch_contract::MAX_ATTRIBUTES {
            builder = builder.attribute(format!("x{n}"), "v");
        }
        let full = builder.build().unwrap();
        let outcome = Outcome::Rejected {
            reason: "no".into(),
            code: None,
        };

        assert_eq!(dead_letter(&full, "x", &outcome), full);
    }
}
