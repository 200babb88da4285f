//! What can happen to a router, and how likely.

use dispatch_router::{Filter, Limits};
use proptest::prelude::*;

use std::time::Duration;

pub(crate) const ORGANIZATIONS: [&str; 2] = ["one", "two"];
pub(crate) const TYPES: [&str; 4] = ["a.one", "a.two", "b.one", "dispatch.x"];
pub(crate) const LANES: usize = 5;
pub(crate) const RETRY: u32 = 2;
pub(crate) const SET_ASIDE: usize = 5;
pub(crate) const KEYS: [&str; 3] = ["red", "green", "blue"];

pub(crate) fn limits() -> Limits {
    Limits {
        queue_events: 4,
        queue_bytes: 600,
        in_flight: 5,
        max_hops: 2,
        max_failures_kept: 2,
        beyond: 5,
        reads: 2,
        unwritten: 6,
        set_aside: SET_ASIDE,
        longest_parked: Duration::from_secs(20),
        breaker_after: 3,
        idle_marks_every: Duration::from_secs(1),
        ..Limits::default()
    }
}

pub(crate) fn filters() -> Vec<Option<Filter>> {
    vec![
        None,
        Some(Filter::All(vec![])),
        Some(Filter::All(vec![Filter::exact("type", "a.one")])),
        Some(Filter::All(vec![Filter::prefix("type", "a.")])),
        Some(Filter::All(vec![Filter::Any(vec![
            Filter::exact("type", "dispatch.x"),
            Filter::suffix("type", "one"),
        ])])),
    ]
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Append {
        organization: usize,
        ty: usize,
        key: Option<usize>,
        count: usize,
        target: Option<usize>,
    },
    Follow(usize),
    Answer {
        which: usize,
        reply: Reply,
    },
    Read {
        which: usize,
        most: usize,
        fails: bool,
    },
    Note(Note),
    Pass(u64),
    Crash {
        lose: usize,
        older: usize,
    },
    Change {
        lane: usize,
        filter: usize,
        dead_letters: bool,
    },
    Replace {
        lane: usize,
        filter: usize,
    },
    Unpark {
        lane: usize,
        key: Option<usize>,
        skip: bool,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    Accept,
    AcceptWithEvent,
    Release,
    ReleaseLater,
    Reject,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Note {
    Taken,
    Unavailable,
    TooLarge,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let reply = prop_oneof![
        4 => Just(Reply::Accept),
        2 => Just(Reply::AcceptWithEvent),
        3 => Just(Reply::Release),
        1 => Just(Reply::ReleaseLater),
        1 => Just(Reply::Reject),
    ];
    let note = prop_oneof![6 => Just(Note::Taken), 1 => Just(Note::Unavailable), 1 => Just(Note::TooLarge)];
    prop_oneof![
        12 => (0..2usize, 0..TYPES.len(), proptest::option::weighted(0.8, 0..KEYS.len()), 1..5usize,
            proptest::option::weighted(0.15, 0..LANES))
            .prop_map(|(organization, ty, key, count, target)| {
                Step::Append { organization, ty, key, count, target }
            }),
        10 => (1..12usize).prop_map(Step::Follow),
        24 => (any::<usize>(), reply).prop_map(|(which, reply)| Step::Answer { which, reply }),
        10 => (any::<usize>(), 1..20usize, proptest::bool::weighted(0.1))
            .prop_map(|(which, most, fails)| Step::Read { which, most, fails }),
        12 => note.prop_map(Step::Note),
        10 => (1..1500u64).prop_map(Step::Pass),
        1 => (0..6usize, 0..30usize).prop_map(|(lose, older)| Step::Crash { lose, older }),
        2 => (0..LANES, 0..filters().len(), any::<bool>())
            .prop_map(|(lane, filter, dead_letters)| Step::Change { lane, filter, dead_letters }),
        1 => (0..LANES, 0..filters().len()).prop_map(|(lane, filter)| Step::Replace { lane, filter }),
        4 => (0..LANES, proptest::option::of(0..KEYS.len()), proptest::bool::weighted(0.3))
            .prop_map(|(lane, key, skip)| Step::Unpark { lane, key, skip }),
    ]
}
