//! Groups on their way to the committer: bounded, in order, and patient for a bounded time only.
//!
//! A group counts against the bounds until its batch is on disk. Noted groups wait a little for an append
//! to share its sync; an append never waits for anything but the disk.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use dispatch_contract::{AppendError, Appended, Group};
use tokio::sync::{Notify, oneshot};

use crate::clock::Clock;
use crate::identities::Identity;
use crate::lock::lock;
use crate::options::Options;

/// When it is worth asking a full queue or a failing disk again.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A group that waits.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) group: Group,
    /// One for each event; `None` for those that are not deduplicated.
    pub(crate) identities: Vec<Option<Identity>>,
    /// Size of the records on disk, at most.
    pub(crate) bytes: usize,
    /// Who waits for it; `None` for a noted group.
    pub(crate) reply: Option<oneshot::Sender<Result<Appended, AppendError>>>,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    ready: Condvar,
    /// Instead of `ready`, where no thread waits for work.
    bell: Option<Notify>,
    space: Notify,
    most_bytes: usize,
    most_groups: usize,
    wait: Duration,
    note_delay: Duration,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    /// Of groups that wait or are being written.
    bytes: usize,
    groups: usize,
    /// Groups that somebody waits for.
    urgent: usize,
    /// When the noted groups must be written at the latest.
    due: Option<Duration>,
    /// The disk failed: only `due` or an append starts the next try.
    paused: bool,
    /// The disk does not take anything: nobody waits for room.
    failing: bool,
    closed: bool,
}

/// What there is to write.
#[derive(Debug)]
pub(crate) enum Taken {
    Groups(VecDeque<Item>),
    /// Not before so much time has passed, if no other group comes.
    Nothing {
        due: Option<Duration>,
    },
    /// The queue is closed and empty.
    Closed,
}

impl Item {
    /// What tells how deliveries ended, and not of new events from outside: may use what is kept free for it.
    pub(crate) fn may_use_reserve(&self) -> bool {
        self.reply.is_none() || self.group.events.is_empty()
    }
}

impl Queue {
    /// With `manual`, [`Self::bell`] says that there is work, else [`Self::take`] waits for it.
    pub(crate) fn new(options: &Options, clock: Arc<dyn Clock>, manual: bool) -> Self {
        Self {
            state: Mutex::default(),
            clock,
            bell: manual.then(Notify::new),
            ready: Condvar::new(),
            space: Notify::new(),
            most_bytes: options.queue_bytes,
            most_groups: options.queue_groups.max(1),
            wait: options.queue_wait,
            note_delay: options.note_delay,
        }
    }

    /// Puts a group at the end, waiting a bounded time for room.
    pub(crate) async fn push(&self, item: Item) -> Result<(), AppendError> {
        let Err(mut item) = self.try_push(item)? else {
            return Ok(());
        };
        let wait = match self.is_failing() {
            true => Duration::ZERO,
            false => self.wait,
        };
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let mut space = std::pin::pin!(self.space.notified());
            space.as_mut().enable();
            item = match self.try_push(item)? {
                Ok(()) => return Ok(()),
                Err(back) => back,
            };
            if tokio::time::timeout_at(deadline, space).await.is_err() {
                return Err(AppendError::Unavailable {
                    reason: "too many events wait to be written".to_owned(),
                    retry_after: RETRY_AFTER,
                });
            }
        }
    }

    /// Puts a group at the end, or gives it back if there is no room.
    fn try_push(&self, item: Item) -> Result<Result<(), Item>, AppendError> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(AppendError::Closed);
        }
        let full = state.groups >= self.most_groups
            || (state.groups > 0 && state.bytes + item.bytes > self.most_bytes);
        if full {
            return Ok(Err(item));
        }
        state.groups += 1;
        state.bytes += item.bytes;
        let wake = if item.reply.is_some() {
            state.urgent += 1;
            state.urgent == 1
        } else if state.due.is_none() {
            state.due = Some(self.clock.elapsed() + self.note_delay);
            true
        } else {
            state.bytes > self.rush()
        };
        state.items.push_back(item);
        drop(state);
        if wake {
            self.wake();
        }
        Ok(Ok(()))
    }

    /// The noted groups wait no longer for an append; but while the disk fails they rest as they would.
    pub(crate) fn hasten(&self) {
        {
            let mut state = lock(&self.state);
            if state.items.is_empty() || state.urgent > 0 || state.paused {
                return;
            }
            state.due = Some(Duration::ZERO);
        }
        self.wake();
    }

    /// So many bytes of noted groups are written without waiting for more.
    fn rush(&self) -> usize {
        (self.most_bytes / 4).min(1 << 20)
    }

    fn wake(&self) {
        if self.bell.is_none() {
            self.ready.notify_one();
        }
        self.ring();
    }

    /// Rings the bell, if there is one.
    pub(crate) fn ring(&self) {
        if let Some(bell) = &self.bell {
            bell.notify_one();
        }
    }

    /// Rings when there may be work, or rang since it was last heard.
    pub(crate) async fn bell(&self) {
        match &self.bell {
            None => std::future::pending().await,
            Some(bell) => bell.notified().await,
        }
    }

    /// Waits for work; about `most` bytes of it. `None` when the queue is closed and empty.
    ///
    /// When `busy`, others who can run go first once there is work: on a machine with more to do than it can, they
    /// bring more groups to share the sync; on an idle one nothing is waited for.
    pub(crate) fn take(&self, most: usize, busy: bool) -> Option<VecDeque<Item>> {
        let mut yields = busy;
        let mut state = lock(&self.state);
        loop {
            if yields && state.urgent > 0 {
                yields = false;
                drop(state);
                std::thread::yield_now();
                state = lock(&self.state);
            }
            state = match self.look(&mut state, most) {
                Taken::Groups(items) => return Some(items),
                Taken::Closed => return None,
                Taken::Nothing { due: None } => {
                    self.ready.wait(state).unwrap_or_else(PoisonError::into_inner)
                }
                Taken::Nothing { due: Some(due) } => {
                    let waited = self.ready.wait_timeout(state, due);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// The same without waiting.
    pub(crate) fn poll(&self, most: usize) -> Taken {
        self.look(&mut lock(&self.state), most)
    }

    fn look(&self, state: &mut State, most: usize) -> Taken {
        let due = state.due.map(|d| d.saturating_sub(self.clock.elapsed()));
        let rush = !state.paused && state.bytes > self.rush();
        let now = state.closed || state.urgent > 0 || rush || due.is_some_and(|d| d.is_zero());
        if now && !state.items.is_empty() {
            return Taken::Groups(state.take(most));
        }
        if state.closed {
            return Taken::Closed;
        }
        Taken::Nothing {
            due: due.filter(|d| !d.is_zero()),
        }
    }

    /// Noted groups the disk did not take, back to the front, to be tried again after `pause`.
    pub(crate) fn put_back(&self, items: VecDeque<Item>, pause: Duration) {
        let mut state = lock(&self.state);
        for item in items.into_iter().rev() {
            state.items.push_front(item);
        }
        state.paused = true;
        state.due = Some(self.clock.elapsed() + pause);
    }

    /// Whether the disk takes anything at present.
    pub(crate) fn set_failing(&self, failing: bool) {
        lock(&self.state).failing = failing;
    }

    fn is_failing(&self) -> bool {
        lock(&self.state).failing
    }

    /// So much is on disk, or refused: there is room again.
    pub(crate) fn release(&self, groups: usize, bytes: usize) {
        {
            let mut state = lock(&self.state);
            state.groups = state.groups.saturating_sub(groups);
            state.bytes = state.bytes.saturating_sub(bytes);
        }
        self.space.notify_waiters();
    }

    /// No more groups are taken; what waits is still written.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.wake();
        self.space.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).closed
    }

    /// The committer is gone: whoever still waits learns it by the dropped reply.
    pub(crate) fn abandon(&self) {
        let left = {
            let mut state = lock(&self.state);
            state.closed = true;
            std::mem::take(&mut state.items)
        };
        drop(left);
        self.space.notify_waiters();
    }
}

impl State {
    fn take(&mut self, most: usize) -> VecDeque<Item> {
        self.paused = false;
        let mut bytes = 0;
        let fits = self.items.iter().take_while(|item| {
            let room = bytes == 0 || bytes + item.bytes <= most;
            bytes += item.bytes;
            room
        });
        let count = fits.count();
        let rest = self.items.split_off(count);
        let taken = std::mem::replace(&mut self.items, rest);
        self.urgent -= taken.iter().filter(|i| i.reply.is_some()).count();
        if self.items.is_empty() {
            self.due = None;
        } else if self.urgent == 0 {
            self.due = Some(Duration::ZERO);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::RealClock;

    fn item(bytes: usize, urgent: bool) -> Item {
        Item {
            group: Group::default(),
            identities: Vec::new(),
            bytes,
            reply: urgent.then(|| oneshot::channel().0),
        }
    }

    fn queue(most_bytes: usize, note_delay: Duration) -> Queue {
        let options = Options {
            queue_bytes: most_bytes,
            queue_wait: Duration::from_millis(50),
            note_delay,
            ..Options::default()
        };
        Queue::new(&options, Arc::new(RealClock::default()), false)
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_after_its_patience_and_takes_again_when_there_is_room() {
        let queue = queue(100, Duration::ZERO);
        queue.push(item(80, true)).await.unwrap();

        let refused = queue.push(item(80, true)).await;
        assert!(
            matches!(refused, Err(AppendError::Unavailable { retry_after, .. }) if retry_after == RETRY_AFTER)
        );

        let taken = queue.take(1000, false).unwrap();
        assert_eq!(taken.len(), 1);
        assert!(queue.push(item(80, true)).await.is_err(), "still being written");
        queue.release(1, 80);
        queue.push(item(80, true)).await.unwrap();
    }

    #[tokio::test]
    async fn a_group_larger_than_the_queue_passes_alone() {
        let queue = queue(10, Duration::ZERO);

        queue.push(item(80, true)).await.unwrap();

        assert_eq!(queue.take(1, false).unwrap().len(), 1);
    }

    #[tokio::test]
    async fn noted_groups_wait_for_an_append_and_keep_their_order() {
        let queue = queue(1000, Duration::from_secs(3600));
        queue.push(item(1, false)).await.unwrap();
        queue.push(item(2, false)).await.unwrap();

        queue.push(item(3, true)).await.unwrap();
        let taken = queue.take(1000, false).unwrap();

        assert_eq!(taken.iter().map(|i| i.bytes).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn noted_groups_that_somebody_waits_for_are_written_at_once_but_not_while_the_disk_fails() {
        let queue = queue(1000, Duration::from_secs(3600));
        queue.hasten();
        queue.push(item(1, false)).await.unwrap();
        assert!(matches!(queue.poll(1000), Taken::Nothing { due: Some(_) }));

        queue.hasten();
        let Taken::Groups(taken) = queue.poll(1000) else {
            panic!("still waiting")
        };

        queue.put_back(taken, Duration::from_secs(3600));
        queue.hasten();
        assert!(matches!(queue.poll(1000), Taken::Nothing { due: Some(_) }));
    }

    #[tokio::test]
    async fn what_was_put_back_comes_first_and_closing_leaves_nothing_behind() {
        let queue = queue(1000, Duration::from_secs(3600));
        queue.push(item(1, false)).await.unwrap();
        queue.push(item(2, true)).await.unwrap();
        let mut taken = queue.take(1000, false).unwrap();
        queue.push(item(3, false)).await.unwrap();

        queue.put_back(
            VecDeque::from([taken.pop_front().unwrap()]),
            Duration::from_secs(3600),
        );
        queue.close();

        let rest = queue.take(1000, false).unwrap();
        assert_eq!(rest.iter().map(|i| i.bytes).collect::<Vec<_>>(), [1, 3]);
        assert!(queue.take(1000, false).is_none());
        assert!(matches!(
            queue.push(item(1, true)).await,
            Err(AppendError::Closed)
        ));
    }
}
