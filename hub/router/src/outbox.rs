//! What the log is still to be told: settlements with the events they caused, and marks, in their order.
//!
//! One group is handed over at a time; what it holds is kept until the log has taken it, so a log that is
//! full for a while loses nothing. A mark never overtakes a settlement it relies on.

use std::collections::VecDeque;
use std::time::Duration;

use dispatch_contract::{AppendError, Group, NewEvent, Sequence, Settlement, Through};

/// The most settlements in one group.
const GROUP_POSTS: usize = 512;
/// The most bytes of caused events in one group.
const GROUP_BYTES: usize = 1 << 20;
/// Bytes of caused events above which the outbox is full.
const MAX_BYTES: usize = 32 << 20;
const SHORTEST_WAIT: Duration = Duration::from_millis(10);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    posts: VecDeque<Post>,
    bytes: usize,
    marks: usize,
    /// How many posts at the front are in the group under way.
    under_way: usize,
    /// At most this many next time.
    at_most: Option<usize>,
    not_before: Option<Duration>,
    closed: bool,
}

#[derive(Debug)]
pub(crate) enum Post {
    Settled {
        settlement: Settlement,
        caused: Vec<NewEvent>,
    },
    Marks {
        through: Vec<Through>,
        /// No lane owes anything up to here once this is written.
        floor: Option<Sequence>,
    },
}

impl Post {
    fn bytes(&self) -> usize {
        match self {
            Self::Settled { caused, .. } => caused.iter().map(|e| e.event.encoded().len()).sum(),
            Self::Marks { .. } => 0,
        }
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, post: Post) {
        if self.closed {
            return;
        }
        self.bytes += post.bytes();
        self.marks += usize::from(matches!(post, Post::Marks { .. }));
        self.posts.push_back(post);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.posts.is_empty()
    }
    /// The log is gone; nothing more can be written.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
    pub(crate) fn is_full(&self, unwritten: usize) -> bool {
        self.posts.len() >= unwritten || self.bytes >= MAX_BYTES
    }
    pub(crate) fn has_marks(&self) -> bool {
        self.marks > 0
    }
    /// When to ask for a group although nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.not_before
            .filter(|_| !self.posts.is_empty() && self.under_way == 0)
    }

    /// The next group to hand over, if none is under way.
    pub(crate) fn next_group(&mut self, now: Duration) -> Option<Group> {
        if self.under_way > 0 || self.posts.is_empty() || self.not_before.is_some_and(|at| at > now) {
            return None;
        }
        self.not_before = None;
        let mut group = Group::default();
        let mut bytes = 0;
        let most = self.at_most.take().unwrap_or(GROUP_POSTS);
        for post in self.posts.iter().take(most) {
            bytes += post.bytes();
            if self.under_way > 0 && bytes > GROUP_BYTES {
                break;
            }
            match post {
                Post::Settled { settlement, caused } => {
                    group.settlements.push(settlement.clone());
                    group.events.extend(caused.iter().cloned());
                }
                Post::Marks { through, .. } => group.through.extend_from_slice(through),
            }
            self.under_way += 1;
        }
        Some(group)
    }

    /// The log's answer to the group under way. Returns the floor that holds from now on, if it is a new one.
    pub(crate) fn noted(&mut self, now: Duration, result: Result<(), AppendError>) -> Option<Sequence> {
        let count = std::mem::take(&mut self.under_way);
        match result {
            Ok(()) => {
                let mut floor = None;
                for post in self.posts.drain(..count) {
                    self.bytes -= post.bytes();
                    if let Post::Marks { floor: at, .. } = post {
                        self.marks -= 1;
                        floor = at;
                    }
                }
                return floor;
            }
            Err(AppendError::Unavailable { retry_after, reason }) => {
                tracing::warn!(reason, "the log takes no settlements for now; they are kept");
                self.not_before = Some(now + retry_after.clamp(SHORTEST_WAIT, LONGEST_WAIT));
            }
            Err(AppendError::TooLarge(reason)) if count > 1 => {
                tracing::debug!(reason, count, "a group of settlements is too large; halved");
                self.at_most = Some(count / 2);
            }
            Err(AppendError::TooLarge(reason)) => {
                self.at_most = Some(1);
                self.lighten(&reason);
            }
            Err(AppendError::Closed) => {
                self.closed = true;
                self.posts.clear();
                (self.bytes, self.marks) = (0, 0);
            }
        }
        None
    }

    /// Makes the first post smaller, by what matters least: the log can never take it as it is.
    fn lighten(&mut self, reason: &str) {
        let Some(post) = self.posts.pop_front() else {
            return;
        };
        self.bytes -= post.bytes();
        match post {
            Post::Settled { settlement, caused } if !caused.is_empty() => {
                tracing::error!(
                    reason,
                    subscription = %settlement.subscription,
                    event = settlement.event,
                    "events caused by a delivery are too large for the log and are lost"
                );
                let caused = Vec::new();
                self.posts.push_front(Post::Settled { settlement, caused });
            }
            Post::Settled {
                mut settlement,
                caused,
            } if !settlement.failures.is_empty() => {
                let keep = settlement.failures.len() / 2;
                settlement.failures.drain(..settlement.failures.len() - keep);
                self.posts.push_front(Post::Settled { settlement, caused });
            }
            Post::Marks { mut through, floor } if through.len() > 1 => {
                let rest = through.split_off(through.len() / 2);
                self.posts.push_front(Post::Marks { through: rest, floor });
                // The floor holds only when the second half is written too.
                self.posts.push_front(Post::Marks { through, floor: None });
                self.marks += 1;
            }
            other => {
                self.marks -= usize::from(matches!(other, Post::Marks { .. }));
                tracing::error!(reason, post = ?other, "the log can never take a settlement");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dispatch_contract::{Event, Settled, SubscriptionId};

    use super::*;

    fn id() -> SubscriptionId {
        SubscriptionId(Default::default())
    }

    fn settled(event: Sequence) -> Post {
        Post::Settled {
            settlement: Settlement {
                subscription: id(),
                event,
                settled: Settled::Delivered,
                attempts: 1,
                failures: Vec::new(),
            },
            caused: vec![NewEvent {
                organization: "o".into(),
                event: Event::builder("1", "/s", "t").build().unwrap(),
                target: None,
            }],
        }
    }

    fn marks(floor: Sequence) -> Post {
        let through = Through {
            subscription: id(),
            sequence: floor,
            but_for: Vec::new(),
        };
        Post::Marks {
            through: vec![through.clone(), through],
            floor: Some(floor),
        }
    }

    #[test]
    fn a_full_log_loses_no_settlement() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        outbox.push(marks(1));
        let first = outbox.next_group(Duration::ZERO).unwrap();

        let full = AppendError::Unavailable {
            reason: "disk full".into(),
            retry_after: Duration::from_secs(1),
        };
        assert_eq!(outbox.noted(Duration::ZERO, Err(full)), None);

        assert!(outbox.next_group(Duration::from_millis(999)).is_none());
        assert_eq!(outbox.wake_at(), Some(Duration::from_secs(1)));
        let again = outbox.next_group(Duration::from_secs(1)).unwrap();
        assert_eq!(again.settlements, first.settlements);
        assert_eq!(again.through, first.through);
        assert_eq!(outbox.noted(Duration::from_secs(1), Ok(())), Some(1));
        assert!(outbox.is_empty() && outbox.bytes == 0 && !outbox.has_marks());
    }

    #[test]
    fn a_group_that_is_too_large_goes_in_parts_and_at_last_without_what_it_caused() {
        let mut outbox = Outbox::default();
        for event in 1..=3 {
            outbox.push(settled(event));
        }
        outbox.push(marks(9));

        let mut taken: Vec<Sequence> = Vec::new();
        let mut floor = None;
        for _ in 0..30 {
            let Some(group) = outbox.next_group(Duration::ZERO) else {
                break;
            };
            let small = group.events.is_empty() && group.settlements.len() + group.through.len() < 2;
            if small {
                taken.extend(group.settlements.iter().map(|s| s.event));
            }
            let answer = if small {
                Ok(())
            } else {
                Err(AppendError::TooLarge("x".into()))
            };
            floor = outbox.noted(Duration::ZERO, answer).or(floor);
        }

        assert_eq!(taken, [1, 2, 3]);
        assert_eq!(floor, Some(9));
        assert!(outbox.is_empty() && !outbox.has_marks());
    }

    #[test]
    fn a_closed_log_ends_the_outbox() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        outbox.next_group(Duration::ZERO).unwrap();

        outbox.noted(Duration::ZERO, Err(AppendError::Closed));
        outbox.push(settled(2));

        assert!(outbox.is_closed() && outbox.is_empty());
    }
}
