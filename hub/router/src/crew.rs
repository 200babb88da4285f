//! Attempts under way: a few tasks work at all of them, as many as the runtime has threads.
//!
//! A task for every attempt would be made anew, woken and told about for each event. Here one wake-up serves all
//! attempts of a hand whose sinks have answered, the loop hears of them together, and what it starts in return goes
//! to the hand with the least to do, which is the one that has just come back. An attempt that waits costs nothing;
//! one that blocked its thread would hold up those of its hand, as a sink must never do.

use std::future::pending;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::{JoinSet, unconstrained};

use crate::attempt::Ended;

/// Attempts that ended which are told at once.
const BATCH: usize = 256;

type Job = BoxFuture<'static, Ended>;
/// By which hand.
type Report = (usize, Ended);

/// Neither queue has a bound of its own: the machine's `in_flight` bounds what is in both.
pub(crate) struct Crew {
    hands: Vec<Hand>,
    tasks: JoinSet<()>,
    reports: UnboundedReceiver<Report>,
    told: Vec<Report>,
}

struct Hand {
    jobs: UnboundedSender<Job>,
    under_way: usize,
}

impl Crew {
    /// On the current runtime.
    pub(crate) fn start() -> Self {
        let mut tasks = JoinSet::new();
        let (report, reports) = mpsc::unbounded_channel();
        let hands = 0..Handle::current().metrics().num_workers();
        let hands = hands.map(|number| {
            let (jobs, todo) = mpsc::unbounded_channel();
            tasks.spawn(work(number, todo, report.clone()));
            Hand { jobs, under_way: 0 }
        });
        Self {
            hands: hands.collect(),
            tasks,
            reports,
            told: Vec::new(),
        }
    }

    /// Starts an attempt.
    pub(crate) fn begin(&mut self, attempt: impl Future<Output = Ended> + Send + 'static) {
        // Each attempt may read and write as much as it would in a task of its own: the budget a task has would be
        // shared by all of them, and who comes last would find nothing ready.
        let job = unconstrained(attempt).boxed();
        if let Some(hand) = self.hands.iter_mut().min_by_key(|hand| hand.under_way) {
            hand.under_way += 1;
            // A hand ends only with the crew.
            hand.jobs.send(job).ok();
        }
    }

    /// What has ended, as soon as anything has. Nothing is lost if this is given up while it waits.
    pub(crate) async fn ended(&mut self) -> Vec<Ended> {
        if self.reports.recv_many(&mut self.told, BATCH).await == 0 {
            // No hand is left, so nothing will end.
            return pending().await;
        }
        let hands = &mut self.hands;
        let ended = self.told.drain(..).map(|(number, ended)| {
            hands[number].under_way -= 1;
            ended
        });
        ended.collect()
    }

    /// Cuts off whatever is under way.
    pub(crate) async fn shutdown(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn work(number: usize, mut todo: UnboundedReceiver<Job>, reports: UnboundedSender<Report>) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Some(ended) = under_way.next() => {
                if reports.send((number, ended)).is_err() {
                    return;
                }
            }
            job = todo.recv() => match job {
                Some(job) => under_way.push(job),
                None => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Arc;
    use std::time::Duration;

    use dispatch_contract::{Answer, Outcome};
    use tokio::time::timeout;

    use super::*;
    use crate::machine::Ticket;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn ended(number: u64) -> Ended {
        Ended {
            ticket: Ticket(number),
            answer: Answer::from(Outcome::Accepted),
            took: Duration::ZERO,
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_attempt_is_told_once_while_others_wait_for_ever() {
        let mut crew = Crew::start();
        let most = 1000;
        for number in 0..most {
            crew.begin(pending());
            crew.begin(ready(ended(number)));
        }

        let mut told = Vec::new();
        while told.len() < most as usize {
            let more = timeout(PATIENCE, crew.ended()).await.unwrap();
            told.extend(more.into_iter().map(|ended| ended.ticket));
        }

        told.sort_unstable();
        assert_eq!(told, (0..most).map(Ticket).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_shutdown_drops_what_is_under_way() {
        let mut crew = Crew::start();
        let alive = Arc::new(());
        let held = alive.clone();
        crew.begin(async move {
            pending::<()>().await;
            drop(held);
            ended(1)
        });

        timeout(PATIENCE, crew.shutdown()).await.unwrap();

        assert_eq!(Arc::strong_count(&alive), 1);
    }
}
