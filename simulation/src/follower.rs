//! Reads the log after the router as the hub's views do, tells the journal what may go, and looks at the router's bounds.

use std::sync::PoisonError;
use std::time::Duration;

use dispatch_contract::Log as _;
use dispatch_journal::Journal;
use dispatch_router::Router;
use tokio::time::sleep;

use crate::checks::Checks;
use crate::world::World;

/// Between two looks at a log in which something happens.
const PAUSE: Duration = Duration::from_millis(25);

impl World {
    /// Until the end. It looks again and again and does not listen: who of several listeners is woken first is not for
    /// a seed to say.
    pub(crate) fn follow(&self, journal: Journal, router: Router) -> impl Future<Output = ()> + Send + use<> {
        let (published, witness, store) = (self.published.clone(), self.witness.clone(), self.store.clone());
        let most = self.plan.limits.queue_events;
        let forgets = self.forgets();
        // While subscriptions change, store and router are not always of one mind.
        let steady = self.plan.changes == 0;
        let mut at = published.lock().unwrap_or_else(PoisonError::into_inner).next();
        async move {
            let (mut pause, mut last_floor) = (PAUSE, 0);
            loop {
                sleep(pause).await;
                pause = (pause * 2).min(16 * PAUSE);
                let floor = router.floor();
                while at <= journal.head() {
                    // What cannot be read now can be read later.
                    let Ok(page) = journal.read(at, 64 * 1024).await else {
                        break;
                    };
                    let mut published = published.lock().unwrap_or_else(PoisonError::into_inner);
                    if let Err(wrong) = published.see(at, &page.entries, page.next) {
                        witness.broke(wrong);
                        return;
                    }
                    at = page.next;
                    pause = PAUSE;
                }
                if steady && floor > last_floor && at > journal.head() {
                    last_floor = floor;
                    let checked = Checks {
                        published: &published.lock().unwrap_or_else(PoisonError::into_inner),
                        book: &witness.book(),
                        store: &store.lock().unwrap_or_else(PoisonError::into_inner),
                        forgets,
                    }
                    .floor(floor);
                    if let Err(wrong) = checked {
                        witness.broke(wrong);
                        return;
                    }
                }
                journal.set_floor(floor.min(at - 1));
                for status in router.statuses().await {
                    if status.queued + status.in_flight + status.retrying > most {
                        witness.broke(format!("more than {most} events in memory: {status:?}"));
                    }
                }
            }
        }
    }
}
