//! What a seed decides in advance: the sizes of everything, how many lives the hub has and how each ends.

use std::time::Duration;

use dispatch_journal::Options;
use dispatch_router::{Limits, Quotas};

use crate::dice::Dice;
use crate::disk::{Faults, Loss};

/// How a life ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    /// In the middle of the n-th change of the disk.
    Change(u64, Loss),
    /// After some time, and then some turns of the scheduler.
    Time(Duration, u64, Loss),
    /// The hub is asked to stop within a time, after some time.
    Stop(Duration, Duration),
    /// When there is nothing left to do.
    Rest,
}

/// One life of the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Life {
    /// How it ends.
    pub(crate) end: End,
    /// Whether the disk fails now and then.
    pub(crate) faulty: bool,
    /// Whether the disk is full now and then.
    pub(crate) cramped: bool,
}

/// Everything that is decided in advance.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The journal's.
    pub(crate) options: Options,
    /// The router's.
    pub(crate) limits: Limits,
    /// Who posts.
    pub(crate) producers: usize,
    /// Subscriptions at the beginning.
    pub(crate) subscriptions: usize,
    /// All lives but the last, in which everything heals.
    pub(crate) lives: Vec<Life>,
    /// The longest wait between two changes of the configuration, milliseconds; 0: none.
    pub(crate) changes: u64,
    /// Whether the wall clock jumps.
    pub(crate) jumps: bool,
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let lives = dice.between(1, 4);
        Self {
            options: options(dice),
            limits: limits(dice),
            producers: dice.between(2, 4) as usize,
            subscriptions: dice.between(2, 5) as usize,
            lives: (0..lives).map(|_| life(dice)).collect(),
            changes: *dice.pick(&[0, 300, 2_000]),
            jumps: dice.chance(200),
        }
    }

    /// Whether the journal has room for everything that may wait.
    pub(crate) fn is_roomy(&self) -> bool {
        self.options.queue_groups > 100 && self.options.queue_bytes > 100 << 10
    }
}

fn options(dice: &mut Dice) -> Options {
    let retain = dice.chance(350);
    Options {
        segment_bytes: *dice.pick(&[8 << 10, 16 << 10, 64 << 10]),
        reserve_bytes: *dice.pick(&[0, 16 << 10]),
        retain_age: (retain && dice.chance(500)).then(|| Duration::from_secs(dice.between(0, 3))),
        retain_bytes: (retain && dice.chance(700)).then(|| dice.between(8, 64) << 10),
        tail_bytes: *dice.pick(&[0, 4 << 10, 64 << 10]),
        queue_bytes: *dice.pick(&[4 << 10, 64 << 10, 1 << 20]),
        queue_groups: *dice.pick(&[2, 16, 1000]),
        queue_wait: Duration::from_millis(dice.between(20, 1000)),
        note_delay: Duration::from_millis(dice.between(0, 20)),
        ..Options::default()
    }
}

fn limits(dice: &mut Dice) -> Limits {
    Limits {
        queue_events: dice.between(1, 40) as usize,
        queue_bytes: *dice.pick(&[1_000, 20_000, 1 << 20]),
        in_flight: dice.between(1, 24) as usize,
        max_hops: dice.between(1, 3) as u32,
        beyond: dice.between(2, 60) as usize,
        reads: dice.between(1, 3) as usize,
        read_bytes: *dice.pick(&[500, 4_000, 64_000]),
        unwritten: dice.between(2, 60) as usize,
        marks_every: Duration::from_millis(dice.between(5, 300)),
        idle_marks_every: Duration::from_millis(dice.between(200, 4_000)),
        longest_retry_after: Duration::from_secs(3),
        set_aside: dice.between(1, 60) as usize,
        longest_parked: Duration::from_millis(dice.between(100, 20_000)),
        breaker_after: dice.between(1, 6) as u32,
        slow_after: Duration::from_millis(dice.between(1, 500)),
        quotas: Quotas {
            each: dice.chance(300).then(|| dice.between(1, 12) as usize),
            ..Quotas::default()
        },
        ..Limits::default()
    }
}

fn life(dice: &mut Dice) -> Life {
    let loss = match dice.below(10) {
        0..=1 => Loss::Nothing,
        2 => Loss::Everything,
        _ => Loss::Pages(*dice.pick(&[100, 500, 900])),
    };
    let lasts = Duration::from_millis(dice.between(20, 1_200));
    let end = match dice.below(10) {
        0..=4 => End::Change(dice.between(1, 120), loss),
        5..=7 => End::Time(lasts, dice.below(40), loss),
        _ => End::Stop(lasts, Duration::from_millis(dice.between(1, 2_000))),
    };
    Life {
        end,
        faulty: dice.chance(450),
        cramped: dice.chance(200),
    }
}

/// What fails for a while.
pub(crate) fn faults(dice: &mut Dice) -> Faults {
    let mut share = |most: u64| if dice.chance(500) { dice.below(most) } else { 0 };
    Faults {
        writes: share(100),
        syncs: share(150),
        reads: share(150),
        short_reads: share(300),
        names: share(80),
    }
}
