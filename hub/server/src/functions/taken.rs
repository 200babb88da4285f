//! Calls by name and through APIs that a stop or a crash left in the journal: shown again before they are made, so that whoever has
//! the name of such a run finds it at any time.

use std::collections::HashMap;

use dispatch_contract::{Committed, Progress, Record, Sequence, SubscriptionId};
use dispatch_schemas::{Run, Status};

use super::message::request_from;
use super::{Functions, run};

/// Runs shown; those beyond are seen as soon as they begin.
const MOST: usize = 10_000;
const PAGE_BYTES: usize = 1 << 20;
/// How much of the journal is looked at.
const MAX_PAGES: usize = 256;

impl Functions {
    /// Shows what functions still owe, by the name of each and what it has behind it. To be called before the router
    /// starts: nothing ends meanwhile.
    pub(super) async fn recover_taken(&self, owing: &HashMap<SubscriptionId, (String, Progress)>) {
        let firsts = owing.values().map(|(_, progress)| first_owed(progress));
        let Some(mut next) = firsts.min() else {
            return;
        };
        let mut shown = 0;
        for _ in 0..MAX_PAGES {
            if next > self.0.log.head() || shown >= MOST {
                return;
            }
            let page = match self.0.log.read(next, PAGE_BYTES).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(%error, "runs that wait are not shown before they begin");
                    return;
                }
            };
            for entry in page.entries {
                if let Record::Event(committed) = &entry.record
                    && let Some(target) = committed.target
                    && let Some((function, progress)) = owing.get(&target)
                    && !progress.covers(entry.sequence)
                    && let Some(run) = waiting(entry.sequence, committed, target, function)
                {
                    self.0.ongoing.taken(&committed.organization, run);
                    shown += 1;
                }
            }
            if page.next <= next {
                return;
            }
            next = page.next;
        }
    }
}

fn first_owed(progress: &Progress) -> Sequence {
    let first = progress.owed.first().copied();
    first.unwrap_or(progress.through + 1)
}

/// The run as it was shown when it was taken.
fn waiting(sequence: Sequence, committed: &Committed, lane: SubscriptionId, function: &str) -> Option<Run> {
    let event = &committed.event;
    let request = request_from(event, true).ok()?;
    if !request.by.has_caller() {
        return None;
    }
    let mut run = Run {
        name: run::name_of(&format!("{sequence}-{lane}")),
        function_name: function.to_owned(),
        function_id: Some(lane.0),
        input: (request.payload.get() != "null").then_some(request.payload),
        secrets: request.secrets,
        executed_time: event.time().map_or(0, run::nanos),
        status: Some(Status::Initialized),
        ..Run::default()
    };
    run::called(&mut run, &request.by);
    Some(run)
}
