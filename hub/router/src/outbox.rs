//! What the log is still to be told, and what it was told and has not written yet: settlements with the events they
//! caused, and marks, in their order.
//!
//! One group is handed over at a time; what it holds is kept until the log's tail shows it, so a log that is full for
//! a while loses nothing, and everybody knows what a crash now would undo. The log writes in the order of the
//! groups: with one post everything before it is written. A mark never overtakes a settlement it relies on.

use std::collections::VecDeque;
use std::time::Duration;

use dispatch_contract::{
    AppendError, Group, NewEvent, Page, Record, Sequence, Settlement, SubscriptionId, Through,
};

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
    /// First those the log has taken, then those of the group under way, then those still to be handed over.
    posts: VecDeque<Entry>,
    bytes: usize,
    /// How many at the front the log has taken and not yet written.
    taken: usize,
    /// How many behind these are in the group under way.
    under_way: Option<usize>,
    /// How many at the front the log was asked to write soon.
    hastened: usize,
    /// Posts with marks that the log has not taken.
    marks: usize,
    /// At most this many next time.
    at_most: Option<usize>,
    not_before: Option<Duration>,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    post: Post,
    /// No lane owes anything up to here once this and everything before is written.
    floor: Option<Sequence>,
}

#[derive(Debug)]
pub(crate) enum Post {
    Settled {
        settlement: Settlement,
        caused: Vec<NewEvent>,
    },
    Marks(Vec<Through>),
}

/// What the log has written, or never will.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Whose settlements, one for each.
    pub(crate) settled: Vec<SubscriptionId>,
    /// The floor that holds from now on, if it is a new one.
    pub(crate) floor: Option<Sequence>,
}

impl Post {
    fn bytes(&self) -> usize {
        match self {
            Self::Settled { caused, .. } => caused.iter().map(|e| e.event.encoded().len()).sum(),
            Self::Marks(_) => 0,
        }
    }

    fn is_marks(&self) -> bool {
        matches!(self, Self::Marks(_))
    }

    /// Whether this record of the log is the last one of it.
    fn ends_with(&self, record: &Record) -> bool {
        match (self, record) {
            (Self::Settled { settlement, .. }, Record::Settlement(written)) => {
                settlement.event == written.event && settlement.subscription == written.subscription
            }
            (Self::Marks(through), Record::Through(written)) => through.last().is_some_and(|last| {
                last.sequence == written.sequence && last.subscription == written.subscription
            }),
            _ => false,
        }
    }
}

impl Outbox {
    pub(crate) fn push(&mut self, post: Post) {
        if self.closed {
            return;
        }
        self.bytes += post.bytes();
        self.marks += usize::from(post.is_marks());
        self.posts.push_back(Entry { post, floor: None });
    }

    /// No lane owes anything up to `floor` once everything pushed so far is written. Gives it back if it is.
    pub(crate) fn floor_after_all(&mut self, floor: Sequence) -> Option<Sequence> {
        match self.posts.back_mut() {
            Some(last) => {
                last.floor = Some(floor);
                None
            }
            None => Some(floor).filter(|_| !self.closed),
        }
    }

    /// Whether the log has taken everything.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.posts.len() == self.taken
    }
    /// The log is gone; nothing more can be written.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }
    pub(crate) fn is_full(&self, unwritten: usize) -> bool {
        self.posts.len() >= unwritten || self.bytes >= MAX_BYTES
    }
    /// Whether the log has marks still to take.
    pub(crate) fn has_marks(&self) -> bool {
        self.marks > 0
    }
    /// When to ask for a group although nothing happens.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.not_before
            .filter(|_| !self.is_handed_over() && self.under_way.is_none())
    }

    /// Whether the log has taken something that it was not yet asked to write soon; it is from now on.
    pub(crate) fn hasten(&mut self) -> bool {
        let news = self.taken > self.hastened;
        self.hastened = self.taken;
        news
    }

    /// The next group to hand over, if none is under way.
    pub(crate) fn next_group(&mut self, now: Duration) -> Option<Group> {
        let waits = self.not_before.is_some_and(|at| at > now);
        if self.under_way.is_some() || self.is_handed_over() || waits {
            return None;
        }
        self.not_before = None;
        let mut group = Group::default();
        let (mut count, mut bytes) = (0, 0);
        let most = self.at_most.take().unwrap_or(GROUP_POSTS);
        for Entry { post, .. } in self.posts.range(self.taken..).take(most) {
            bytes += post.bytes();
            if count > 0 && bytes > GROUP_BYTES {
                break;
            }
            match post {
                Post::Settled { settlement, caused } => {
                    group.settlements.push(settlement.clone());
                    group.events.extend(caused.iter().cloned());
                }
                Post::Marks(through) => group.through.extend_from_slice(through),
            }
            count += 1;
        }
        self.under_way = Some(count);
        Some(group)
    }

    /// The log's answer to the group under way. Returns whose settlement is given up, if the log can never take it.
    pub(crate) fn noted(&mut self, now: Duration, result: Result<(), AppendError>) -> Option<SubscriptionId> {
        let count = self.under_way.take()?;
        match result {
            Ok(()) => {
                let taken = self.posts.range(self.taken..self.taken + count);
                self.marks -= taken.filter(|entry| entry.post.is_marks()).count();
                self.taken += count;
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
                return self.lighten(&reason);
            }
            Err(AppendError::Closed) => {
                *self = Self {
                    closed: true,
                    ..Self::default()
                };
            }
        }
        None
    }

    /// The next page of the log's tail: what it shows is written. With a `gap` before it or in it, what should have
    /// been there may be what is missing: then nothing that was taken is waited for any longer.
    pub(crate) fn written(&mut self, page: &Page, gap: bool) -> Written {
        if self.posts.is_empty() {
            return Written::default();
        }
        // Within a group marks follow settlements, whatever the order of its posts: the later one of both counts.
        let records = || page.entries.iter().rev().map(|entry| &entry.record);
        let settlement = records().find(|record| matches!(record, Record::Settlement(_)));
        let mark = records().find(|record| matches!(record, Record::Through(_)));
        let handed_over = self.taken + self.under_way.unwrap_or(0);
        let place = |record: &Record| {
            let mut posts = self.posts.range(..handed_over);
            posts.rposition(|entry| entry.post.ends_with(record))
        };
        let shown = settlement.into_iter().chain(mark).filter_map(place).max();
        let shown = shown.map_or(0, |last| last + 1);
        let count = if gap { shown.max(self.taken) } else { shown };
        self.let_go(count)
    }

    fn let_go(&mut self, count: usize) -> Written {
        let of_taken = count.min(self.taken);
        self.taken -= of_taken;
        self.hastened = self.hastened.saturating_sub(count);
        if let Some(under_way) = &mut self.under_way {
            // The log shows it before it has said that it took it.
            *under_way -= count - of_taken;
        }
        let mut written = Written::default();
        for (n, Entry { post, floor }) in self.posts.drain(..count).enumerate() {
            self.bytes -= post.bytes();
            self.marks -= usize::from(n >= of_taken && post.is_marks());
            if let Post::Settled { settlement, .. } = &post {
                written.settled.push(settlement.subscription);
            }
            written.floor = floor.or(written.floor);
        }
        written
    }

    /// Makes the first post that is to be handed over smaller, by what matters least: the log can never take it as
    /// it is.
    fn lighten(&mut self, reason: &str) -> Option<SubscriptionId> {
        let first = self.taken;
        let Entry { post, floor } = self.posts.remove(first)?;
        self.bytes -= post.bytes();
        let post = match post {
            Post::Settled { settlement, caused } if !caused.is_empty() => {
                tracing::error!(
                    reason,
                    subscription = %settlement.subscription,
                    event = settlement.event,
                    "events caused by a delivery are too large for the log and are lost"
                );
                let caused = Vec::new();
                Post::Settled { settlement, caused }
            }
            Post::Settled {
                mut settlement,
                caused,
            } if !settlement.failures.is_empty() => {
                let keep = settlement.failures.len() / 2;
                settlement.failures.drain(..settlement.failures.len() - keep);
                Post::Settled { settlement, caused }
            }
            Post::Marks(mut through) if through.len() > 1 => {
                let post = Post::Marks(through.split_off(through.len() / 2));
                // The floor holds only when the second half is written, too.
                self.posts.insert(first, Entry { post, floor });
                self.marks += 1;
                let post = Post::Marks(through);
                self.posts.insert(first, Entry { post, floor: None });
                return None;
            }
            other => {
                self.marks -= usize::from(other.is_marks());
                tracing::error!(reason, post = ?other, "the log can never take a settlement");
                return match other {
                    Post::Settled { settlement, .. } => Some(settlement.subscription),
                    Post::Marks(_) => None,
                };
            }
        };
        self.posts.insert(first, Entry { post, floor });
        None
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

    fn mark(sequence: Sequence) -> Through {
        Through {
            subscription: id(),
            sequence,
            but_for: Vec::new(),
        }
    }

    fn push_marks(outbox: &mut Outbox, floor: Sequence) {
        outbox.push(Post::Marks(vec![mark(floor - 1), mark(floor)]));
        assert_eq!(outbox.floor_after_all(floor), None);
    }

    /// The log's tail with these groups.
    fn page(groups: &[&Group]) -> Page {
        let records = groups.iter().flat_map(|group| {
            let settlements = group.settlements.iter().cloned().map(Record::Settlement);
            settlements.chain(group.through.iter().cloned().map(Record::Through))
        });
        let entries = records.map(|record| dispatch_contract::Entry { sequence: 1, record });
        Page {
            entries: entries.collect(),
            next: 2,
        }
    }

    fn taken(outbox: &mut Outbox) -> Group {
        let group = outbox.next_group(Duration::ZERO).unwrap();
        outbox.noted(Duration::ZERO, Ok(()));
        group
    }

    #[test]
    fn a_full_log_loses_no_settlement() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        push_marks(&mut outbox, 9);
        let first = outbox.next_group(Duration::ZERO).unwrap();

        let full = AppendError::Unavailable {
            reason: "disk full".into(),
            retry_after: Duration::from_secs(1),
        };
        outbox.noted(Duration::ZERO, Err(full));

        assert!(outbox.next_group(Duration::from_millis(999)).is_none());
        assert_eq!(outbox.wake_at(), Some(Duration::from_secs(1)));
        let again = outbox.next_group(Duration::from_secs(1)).unwrap();
        assert_eq!(again.settlements, first.settlements);
        assert_eq!(again.through, first.through);
        outbox.noted(Duration::from_secs(1), Ok(()));
        assert!(outbox.is_handed_over() && !outbox.has_marks());
    }

    #[test]
    fn what_the_log_has_taken_counts_until_its_tail_shows_it() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        outbox.push(settled(2));
        let first = taken(&mut outbox);
        push_marks(&mut outbox, 9);
        outbox.push(settled(3));
        let second = taken(&mut outbox);
        outbox.push(settled(4));

        assert!(outbox.is_full(5) && !outbox.is_full(6));
        assert_eq!(outbox.written(&Page::default(), false), Written::default());
        let written = outbox.written(&page(&[&first]), false);
        assert_eq!((written.settled.len(), written.floor), (2, None));
        let written = outbox.written(&page(&[&second]), false);
        assert_eq!((written.settled.len(), written.floor), (1, Some(9)));
        assert!(
            outbox.is_full(1) && !outbox.is_full(2),
            "the last is not handed over"
        );
        assert_eq!(outbox.floor_after_all(11), None);

        let last = outbox.next_group(Duration::ZERO).unwrap();
        let written = outbox.written(&page(&[&last]), false);
        assert_eq!((written.settled.len(), written.floor), (1, Some(11)));
        outbox.noted(Duration::ZERO, Ok(()));
        assert_eq!(
            (outbox.taken, outbox.bytes, outbox.marks),
            (0, 0, 0),
            "shown before it was answered"
        );
        assert_eq!(outbox.floor_after_all(12), Some(12));
    }

    #[test]
    fn what_is_missing_in_the_log_is_not_waited_for() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        push_marks(&mut outbox, 9);
        taken(&mut outbox);
        outbox.push(settled(2));

        let written = outbox.written(&Page::default(), true);

        assert_eq!((written.settled.len(), written.floor), (1, Some(9)));
        assert!(
            outbox.is_full(1) && !outbox.is_full(2),
            "the last is not handed over"
        );
    }

    #[test]
    fn the_log_is_hastened_once_for_what_it_has_taken() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        assert!(!outbox.hasten(), "nothing is handed over");

        let first = taken(&mut outbox);
        assert!(outbox.hasten() && !outbox.hasten());

        outbox.push(settled(2));
        taken(&mut outbox);
        outbox.written(&page(&[&first]), false);
        assert!(outbox.hasten() && !outbox.hasten());
    }

    #[test]
    fn a_group_that_is_too_large_goes_in_parts_and_at_last_without_what_it_caused() {
        let mut outbox = Outbox::default();
        outbox.push(settled(7));
        taken(&mut outbox);
        for event in 1..=3 {
            outbox.push(settled(event));
        }
        push_marks(&mut outbox, 9);

        let mut small_ones = Vec::new();
        for _ in 0..30 {
            let Some(group) = outbox.next_group(Duration::ZERO) else {
                break;
            };
            let small = group.events.is_empty() && group.settlements.len() + group.through.len() < 2;
            let answer = match small {
                true => Ok(()),
                false => Err(AppendError::TooLarge("x".into())),
            };
            outbox.noted(Duration::ZERO, answer);
            small_ones.extend(Some(group).filter(|_| small));
        }

        let settled = small_ones.iter().flat_map(|group| &group.settlements);
        assert_eq!(settled.map(|s| s.event).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(outbox.is_handed_over() && !outbox.has_marks());
        let small_ones: Vec<&Group> = small_ones.iter().collect();
        let but_the_last = outbox.written(&page(&small_ones[..4]), false);
        assert_eq!((but_the_last.settled.len(), but_the_last.floor), (4, None));
        assert_eq!(outbox.written(&page(&small_ones[4..]), false).floor, Some(9));
    }

    #[test]
    fn what_the_log_can_never_take_is_given_up_and_counts_no_more() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        let mut given_up = None;
        for _ in 0..2 {
            outbox.next_group(Duration::ZERO).unwrap();
            given_up = outbox.noted(Duration::ZERO, Err(AppendError::TooLarge("x".into())));
        }

        assert_eq!(given_up, Some(id()));
        assert!(!outbox.is_full(1));
    }

    #[test]
    fn a_closed_log_ends_the_outbox() {
        let mut outbox = Outbox::default();
        outbox.push(settled(1));
        outbox.next_group(Duration::ZERO).unwrap();

        outbox.noted(Duration::ZERO, Err(AppendError::Closed));
        outbox.push(settled(2));

        assert!(outbox.is_closed() && outbox.is_handed_over());
        assert_eq!(
            outbox.floor_after_all(2),
            None,
            "nothing will be written any more"
        );
    }
}
