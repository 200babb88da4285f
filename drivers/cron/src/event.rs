//! A tick as an event.

use chrono::{DateTime, SecondsFormat, Utc};
use dispatch_contract::{Event, EventError};

use crate::config::Plan;

/// The event of a tick: the same id whenever and however often it is made.
pub(crate) fn tick(plan: &Plan, tick: DateTime<Utc>) -> Result<Event, EventError> {
    let time = tick.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let id = format!("{}-{time}", plan.fingerprint);
    Event::builder(id, &plan.source, &plan.ty).time(tick).build()
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Dialect};
    use crate::missed::Missed;

    use super::*;

    #[test]
    fn a_tick_is_always_the_same_event() {
        let plan = Plan::try_from(Config {
            cron: Some("0/10 * * * *".to_owned()),
            at: None,
            jitter: None,
            timezone: None,
            dialect: Dialect::Dispatch,
            missed: Missed::Once,
            source: Some("/here".to_owned()),
            ty: None,
        })
        .unwrap();
        let time = "2026-01-31T23:59:50Z".parse().unwrap();

        let event = tick(&plan, time).unwrap();

        assert_eq!(event, tick(&plan, time).unwrap());
        assert_eq!(
            (event.source(), event.ty(), event.time()),
            ("/here", "cron.trigger", Some(time))
        );
        assert!(event.id().ends_with("-2026-01-31T23:59:50Z"), "{}", event.id());
        assert_eq!((event.subject(), event.data()), (None, None));
    }
}
