//! The journal's own time, by which segments age: the wall clock's, but it does not jump.
//!
//! A clock that is set years ahead must not make retention drop the whole log. So own time follows the wall clock at
//! no more than twice and no less than half the speed of time, and never goes back. A hub's absence counts for at most
//! [`MOST_AWAY`] at once; what is left over is caught up at double speed. A wrong clock thus costs at most as much of
//! the retention again as it was wrong for, and what is right again is taken up again.

use std::sync::Mutex;
use std::time::Duration;

use crate::clock::Clock;
use crate::lock::lock;

/// The most that the time between closing and opening counts for.
const MOST_AWAY: i64 = 24 * 3600 * 1000;

/// Own time, Unix milliseconds.
#[derive(Debug)]
pub(crate) struct OwnTime(Mutex<Reading>);

#[derive(Debug)]
struct Reading {
    own: i64,
    at: Duration,
}

impl OwnTime {
    /// Goes on from the last own time that is known, if the journal is not new.
    pub(crate) fn from(clock: &dyn Clock, last: Option<i64>) -> Self {
        let wall = clock.wall();
        let own = last.map_or(wall, |last| wall.clamp(last, last.saturating_add(MOST_AWAY)));
        Self(Mutex::new(Reading {
            own,
            at: clock.elapsed(),
        }))
    }

    pub(crate) fn now(&self, clock: &dyn Clock) -> i64 {
        let mut reading = lock(&self.0);
        let passed = clock.elapsed().saturating_sub(reading.at).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX);
        let slowest = reading.own.saturating_add(passed / 2);
        let fastest = reading.own.saturating_add(passed.saturating_mul(2));
        reading.own = clock.wall().clamp(slowest, fastest);
        reading.at += Duration::from_millis(passed.unsigned_abs());
        reading.own
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// Wall and elapsed time, set apart.
    #[derive(Debug, Default)]
    struct Two {
        wall: AtomicI64,
        elapsed: AtomicI64,
    }

    impl Two {
        fn pass(&self, time: i64) {
            self.elapsed.fetch_add(time, Ordering::SeqCst);
            self.wall.fetch_add(time, Ordering::SeqCst);
        }
        fn jump(&self, time: i64) {
            self.wall.fetch_add(time, Ordering::SeqCst);
        }
    }

    impl Clock for Two {
        fn wall(&self) -> i64 {
            self.wall.load(Ordering::SeqCst)
        }
        fn elapsed(&self) -> Duration {
            Duration::from_millis(self.elapsed.load(Ordering::SeqCst) as u64)
        }
        fn salt(&self) -> u64 {
            0
        }
    }

    #[test]
    fn own_time_follows_a_clock_that_jumps_at_double_and_at_half_speed() {
        let clock = Two::default();
        let own = OwnTime::from(&clock, None);
        clock.pass(100);
        assert_eq!(own.now(&clock), 100);

        clock.jump(1_000);
        clock.pass(100);
        assert_eq!(own.now(&clock), 300);
        clock.jump(-1_000);
        clock.pass(100);
        assert_eq!(own.now(&clock), 350);
        clock.pass(100);
        assert_eq!(own.now(&clock), 400, "as it should be again");
        clock.jump(-1_000);
        assert_eq!(own.now(&clock), 400, "never back");
    }

    #[test]
    fn an_absence_counts_for_a_day_at_most() {
        let clock = Two::default();
        let years = 300 * MOST_AWAY;

        clock.jump(years);
        assert_eq!(OwnTime::from(&clock, Some(5)).now(&clock), 5 + MOST_AWAY);
        assert_eq!(OwnTime::from(&clock, Some(years - 9)).now(&clock), years);
        assert_eq!(OwnTime::from(&clock, Some(years + 9)).now(&clock), years + 9);
    }
}
