//! Turns the clock into events: one event for each tick of a schedule.
//!
//! A tick is emitted together with the checkpoint that says it was; a tick's id is made from the schedule and
//! its time. So a tick fires once, whether the driver, the hub or the clock is disturbed in between. Ticks that
//! passed while nobody was there are up to the policy `missed`. `time` of an event is the tick, not when it was
//! emitted; there is no data, as in the original driver.
//!
//! Read `schedule.rs` (when), then `missed.rs` (what of the past is made up for).

mod checkpoint;
mod config;
mod event;
mod fixed_time;
mod missed;
mod schedule;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use dispatch_driver_sdk::{About, Context, Failure, Key};

pub use config::{Config, Dialect, Plan};
pub use missed::{Missed, due};
pub use schedule::{Schedule, ScheduleError};

use checkpoint::Checkpoint;

/// What this driver is.
pub const ABOUT: About = About {
    name: "cron",
    summary: "Turns the clock into events.",
    keys: &[
        Key::plain(
            "cron",
            "the schedule: five fields, six with seconds first, @every 10s, @daily, ...",
        ),
        Key::plain(
            "at",
            "instead of a schedule, one time, as 2026-12-01T09:00:00+01:00",
        ),
        Key::plain(
            "jitter",
            "each tick is emitted up to so much later, always as much for one driver",
        ),
        Key::plain(
            "timezone",
            "its time zone, for instance Europe/Berlin; UTC unless given",
        ),
        Key::plain(
            "dialect",
            "unix (default), or dispatch: seconds come first also with five fields",
        ),
        Key::plain(
            "missed",
            "ticks that passed meanwhile: skip, once (default) or all (the newest 1000)",
        ),
        Key::plain("source", "the events' source; names this driver unless given"),
        Key::plain("type", "the events' type; cron.trigger unless given"),
        Key::plain("next", "print that many of the next ticks and exit"),
    ],
};

/// The clock is looked at least this often, so that a clock that was set is noticed.
const LOOK: Duration = Duration::from_secs(1);
/// A tick that is emitted later than this was missed.
const LATE: TimeDelta = TimeDelta::seconds(10);
/// A last tick further ahead than this comes from a clock that was wrong.
const AHEAD: TimeDelta = TimeDelta::hours(1);

/// The driver: waits for the next tick, emits it, and so on.
pub async fn drive(config: Config, context: Context) -> Result<(), Failure> {
    let plan = Plan::try_from(config)?;
    let Context { hub, stop } = context;
    let stored = hub.checkpoint(&stop).await?;
    let mut last = match stored.and_then(|bytes| Checkpoint::read(&bytes)) {
        Some(checkpoint) if checkpoint.schedule == plan.fingerprint => checkpoint.tick,
        _ => {
            // Remembered at once: the first tick can be missed too.
            let begin = Utc::now();
            hub.emit(Vec::new(), Some(plan.checkpoint(begin)), &stop).await?;
            begin
        }
    };
    let mut late = TimeDelta::zero();
    while !stop.is_stopped() {
        let now = Utc::now() - plan.delay;
        if last > now + AHEAD {
            tracing::warn!(last = %last, "the last tick lies in the future: was the clock set back? going on from now");
            last = now;
        }
        let ticks = due(&plan.schedule, last, now, plan.missed, late);
        late = LATE;
        if let Some(newest) = ticks.last().copied() {
            let events: Result<Vec<_>, _> = ticks.iter().map(|tick| event::tick(&plan, *tick)).collect();
            let events = events.map_err(Failure::failed)?;
            hub.emit(events, Some(plan.checkpoint(newest)), &stop).await?;
            last = newest;
        } else {
            last = last.max(now);
        }
        stop.sleep(pause(plan.schedule.after(last), Utc::now() - plan.delay))
            .await?;
    }
    Ok(())
}

/// How long to wait: to the next tick, but not so long that a clock that was set goes unnoticed.
fn pause(next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    let wait = next.map_or(LOOK, |next| (next - now).to_std().unwrap_or_default());
    wait.min(LOOK)
}
