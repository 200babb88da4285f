//! Turns the files of a directory into events: one for each file that is finished.
//!
//! A file is finished when nothing changed it, and nobody renamed it, for a while (`settle`). What tells is its change
//! time (`ctime`), which the system sets at every write and rename and nobody can set: files with a change time before
//! now less `settle` are all there, so the pair (change time, name) of the last event says everything about
//! what was done. Nothing is missed across a restart, whatever happened meanwhile, and the checkpoint stays small.
//! The directory is read again every second: unlike notifications that works on every file system, and after a
//! restart it is needed anyhow.
//!
//! Read `listing.rs` (which files), then `event.rs` (what becomes of one).

mod config;
mod event;
mod listing;

use chrono::Utc;
use dispatch_driver_sdk::{About, Context, Failure, Health, Key};

pub use config::{Config, Plan, Start};

use listing::Place;

/// What this driver is.
pub const ABOUT: About = About {
    name: "files",
    summary: "Turns the files of a directory into events.",
    keys: &[
        Key::plain("directory", "the directory to watch, without those below it"),
        Key::plain("pattern", "only files of such a name, for instance *.csv"),
        Key::plain(
            "settle",
            "a file is finished when it did not change for so long; 2s unless given",
        ),
        Key::plain(
            "max-content",
            "the most bytes of its content that go with the event; 262144 unless given",
        ),
        Key::plain(
            "start",
            "without a checkpoint: now (default), or oldest for the files that are there",
        ),
        Key::plain("source", "the events' source; file://DIRECTORY unless given"),
        Key::plain("type", "the events' type; file.written unless given"),
    ],
};

/// The driver: looks for finished files, emits each, and so on.
pub async fn drive(config: Config, context: Context) -> Result<(), Failure> {
    let plan = Plan::try_from(config)?;
    let Context { hub, stop } = context;
    let stored = hub.checkpoint(&stop).await?;
    let mut done = match stored.as_deref().and_then(Place::read) {
        Some(place) => place,
        None => {
            // Remembered at once: the first file can come while nobody is there, too.
            let begin = match plan.start {
                Start::Now => Place::now(),
                Start::Oldest => Place::default(),
            };
            hub.emit(Vec::new(), Some(begin.write()), &stop).await?;
            begin
        }
    };
    loop {
        let until = Place::at(Utc::now() - plan.settle);
        match listing::finished(&plan, &done, &until) {
            Ok(places) => {
                hub.report(Health::Ready).await;
                for place in places {
                    let events = match event::of(&plan, &place) {
                        Ok(event) => vec![event],
                        Err(problem) => {
                            tracing::warn!(file = place.name, "left out: {problem}");
                            Vec::new()
                        }
                    };
                    hub.emit_or_skip(events, Some(place.write()), &stop).await?;
                    done = place;
                }
            }
            Err(error) => {
                hub.report(Health::Failing(unreadable(&plan, &error))).await;
            }
        }
        stop.sleep(config::LOOK).await?;
    }
}

/// `--test`: which files are there.
pub async fn test(config: Config) -> Result<String, Failure> {
    let plan = Plan::try_from(config)?;
    let until = Place::at(Utc::now() - plan.settle);
    let places = listing::finished(&plan, &Place::default(), &until)
        .map_err(|error| Failure::failed(unreadable(&plan, &error)))?;
    Ok(match places.last() {
        Some(newest) => format!("{} finished, the newest is {}\n", places.len(), newest.name),
        None => "none is finished yet\n".to_owned(),
    })
}

fn unreadable(plan: &Plan, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}", plan.directory.display())
}
