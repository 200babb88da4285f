//! Runs that the read model does not have yet: taken, under way, to be tried again, or ended a moment ago.
//!
//! Kept in memory only, and bounded: what is lost here is still told by the journal once it has ended. Whoever
//! waits for a run by `exec` waits here too.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use dispatch_schemas::{Run, Status};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Runs kept in all; the oldest go first.
const MAX_RUNS: usize = 10_000;
/// Ended runs kept in all, until the read model says that it has them.
const MAX_ENDED: usize = 1000;
/// One whose end the journal cannot tell is kept for as long.
const ENDED_FOR: Duration = Duration::from_secs(30);

/// The runs.
#[derive(Debug, Default)]
pub(super) struct Ongoing {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    runs: HashMap<Uuid, Entry>,
    /// Runs by age.
    ages: BTreeMap<u64, Uuid>,
    next_age: u64,
    ended: VecDeque<(Instant, Uuid)>,
    /// By the id of the event that is the call.
    waiters: HashMap<String, oneshot::Sender<Arc<Run>>>,
}

#[derive(Debug)]
struct Entry {
    age: u64,
    organization: Arc<str>,
    run: Arc<Run>,
    ended: bool,
}

impl Ongoing {
    /// Shows a run that was taken and has not begun; one that has begun meanwhile stays.
    pub(super) fn taken(&self, organization: &Arc<str>, run: Run) {
        let mut state = self.state();
        if !state.runs.contains_key(&run.name) {
            state.put(organization, Arc::new(run), false);
        }
    }

    /// When the run was first seen here.
    pub(super) fn executed_time(&self, name: Uuid) -> Option<i64> {
        self.state().runs.get(&name).map(|e| e.run.executed_time)
    }

    /// An attempt begins, or waits to.
    pub(super) fn begun(&self, organization: &Arc<str>, run: Arc<Run>) {
        self.state().put(organization, run, false);
    }

    /// An attempt ended.
    pub(super) fn ended(&self, organization: &Arc<str>, run: Arc<Run>) {
        self.state().put(organization, run, true);
    }

    /// Whether the run will be tried again, and when (nanoseconds).
    pub(super) fn next_attempt(&self, name: Uuid, at: Option<i64>) {
        let mut state = self.state();
        let Some(entry) = state.runs.get(&name) else {
            return;
        };
        let (organization, mut run) = (Arc::clone(&entry.organization), Run::clone(&entry.run));
        match (run.status, at) {
            (Some(Status::Ready), _) => {}
            // It never began; the journal tells of the delivery's end.
            (Some(Status::Initialized | Status::Creating), None) => state.forget(name),
            _ => {
                run.next_attempt = at;
                state.put(&organization, Arc::new(run), at.is_none());
            }
        }
    }

    /// One run.
    pub(super) fn get(&self, organization: &str, name: Uuid) -> Option<Arc<Run>> {
        let mut state = self.state();
        state.tidy();
        let entry = state.runs.get(&name)?;
        (*entry.organization == *organization).then(|| Arc::clone(&entry.run))
    }

    /// All runs of an organization, of one function if it is given.
    pub(super) fn list(&self, organization: &str, function: Option<&str>) -> Vec<Arc<Run>> {
        let mut state = self.state();
        state.tidy();
        let wanted = |e: &&Entry| {
            *e.organization == *organization && function.is_none_or(|f| f == e.run.function_name)
        };
        state
            .runs
            .values()
            .filter(wanted)
            .map(|e| Arc::clone(&e.run))
            .collect()
    }

    /// The read model has these runs as they ended.
    pub(super) fn told(&self, names: impl Iterator<Item = Uuid>) {
        let mut state = self.state();
        for name in names {
            if state.runs.get(&name).is_some_and(|e| e.ended) {
                state.forget(name);
            }
        }
    }

    /// Forgets the runs of a function.
    pub(super) fn forget_function(&self, id: Uuid) {
        let mut state = self.state();
        let of_it = |(name, e): (&Uuid, &Entry)| (e.run.function_id == Some(id)).then_some(*name);
        let names: Vec<Uuid> = state.runs.iter().filter_map(of_it).collect();
        for name in names {
            state.forget(name);
        }
    }

    /// Waits for the run of the call that is the event with this id.
    pub(super) fn wait_for(&self, event_id: &str) -> oneshot::Receiver<Arc<Run>> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.waiters.retain(|_, waiter| !waiter.is_closed());
        state.waiters.insert(event_id.to_owned(), sender);
        receiver
    }

    /// Tells whoever waits for the call.
    pub(super) fn answer(&self, event_id: &str, run: &Arc<Run>) {
        if let Some(waiter) = self.state().waiters.remove(event_id) {
            // It may have gone.
            drop(waiter.send(Arc::clone(run)));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn put(&mut self, organization: &Arc<str>, run: Arc<Run>, ended: bool) {
        let name = run.name;
        let age = match self.runs.get(&name) {
            Some(entry) => entry.age,
            None => {
                self.next_age += 1;
                self.ages.insert(self.next_age, name);
                self.next_age
            }
        };
        let entry = Entry {
            age,
            organization: Arc::clone(organization),
            run,
            ended,
        };
        self.runs.insert(name, entry);
        if ended {
            self.ended.push_back((Instant::now(), name));
        }
        self.tidy();
    }

    fn tidy(&mut self) {
        while let Some((at, name)) = self.ended.front().copied() {
            if self.ended.len() <= MAX_ENDED && at.elapsed() < ENDED_FOR {
                break;
            }
            self.ended.pop_front();
            if self.runs.get(&name).is_some_and(|e| e.ended) {
                self.forget(name);
            }
        }
        while self.runs.len() > MAX_RUNS {
            let Some((_, name)) = self.ages.pop_first() else {
                break;
            };
            self.runs.remove(&name);
        }
    }

    fn forget(&mut self, name: Uuid) {
        if let Some(entry) = self.runs.remove(&name) {
            self.ages.remove(&entry.age);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: u128, status: Status) -> Arc<Run> {
        Arc::new(Run {
            name: Uuid::from_u128(name),
            function_name: "f".into(),
            function_id: Some(Uuid::nil()),
            status: Some(status),
            ..Run::default()
        })
    }

    fn organization() -> Arc<str> {
        "dispatch".into()
    }

    #[test]
    fn a_run_is_seen_from_its_taking_to_its_end_by_its_organization_only() {
        let ongoing = Ongoing::default();
        let name = Uuid::from_u128(1);
        ongoing.begun(&organization(), run(1, Status::Creating));
        ongoing.taken(&organization(), Run::clone(&run(1, Status::Initialized)));
        assert_eq!(
            ongoing.get("dispatch", name).unwrap().status,
            Some(Status::Creating)
        );
        assert!(ongoing.get("other", name).is_none() && ongoing.list("other", None).is_empty());
        assert!(ongoing.list("dispatch", Some("g")).is_empty());

        ongoing.ended(&organization(), run(1, Status::Error));
        ongoing.next_attempt(name, Some(5));

        assert_eq!(ongoing.list("dispatch", Some("f"))[0].next_attempt, Some(5));
        ongoing.ended(&organization(), run(1, Status::Ready));
        ongoing.next_attempt(name, None);
        assert_eq!(ongoing.get("dispatch", name).unwrap().status, Some(Status::Ready));
        ongoing.forget_function(Uuid::nil());
        assert!(ongoing.get("dispatch", name).is_none());
    }

    #[test]
    fn an_ended_run_leaves_when_the_read_model_has_it_and_not_before() {
        let ongoing = Ongoing::default();
        let (ended, tried_again) = (Uuid::from_u128(1), Uuid::from_u128(2));
        ongoing.ended(&organization(), run(1, Status::Ready));
        ongoing.begun(&organization(), run(2, Status::Creating));
        assert!(ongoing.get("dispatch", ended).is_some());

        ongoing.told([ended, tried_again].into_iter());

        assert!(ongoing.get("dispatch", ended).is_none());
        assert!(ongoing.get("dispatch", tried_again).is_some());
    }

    #[test]
    fn it_never_holds_more_than_its_bounds() {
        let ongoing = Ongoing::default();
        for n in 0..MAX_ENDED as u128 + 10 {
            ongoing.ended(&organization(), run(n, Status::Ready));
        }
        assert_eq!(ongoing.list("dispatch", None).len(), MAX_ENDED);
        for n in 0..2 * MAX_RUNS as u128 {
            ongoing.begun(&organization(), run(n, Status::Creating));
        }
        let state = ongoing.state();
        assert_eq!((state.runs.len(), state.ages.len()), (MAX_RUNS, MAX_RUNS));
    }

    #[tokio::test]
    async fn who_waits_is_told_once_and_who_left_is_forgotten() {
        let ongoing = Ongoing::default();
        drop(ongoing.wait_for("left"));
        let waiting = ongoing.wait_for("call");
        assert_eq!(ongoing.state().waiters.len(), 1);

        ongoing.answer("call", &run(1, Status::Ready));
        ongoing.answer("call", &run(2, Status::Ready));

        assert_eq!(waiting.await.unwrap().name, Uuid::from_u128(1));
    }
}
