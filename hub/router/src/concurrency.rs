//! How many attempts a sink bears at once: fewer when it struggles, one more at a time when it does not.
//!
//! Begins at the subscription's `maxInFlight`, is halved when an attempt ends in trouble (no answer in time, no
//! connection, 429, 502, 503, 504), and grows by one for each round of successes while it is what holds
//! attempts back. Many attempts that fail together are one trouble: those that started before the last halving
//! do not count. So a sink without trouble is never slowed.

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Concurrency {
    most: usize,
    now: usize,
    /// Successes of the round.
    successes: usize,
    /// Attempts numbered up to here started before the last halving.
    halved_at: u64,
}

impl Concurrency {
    pub(crate) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self {
            most,
            now: most,
            successes: 0,
            halved_at: 0,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        self.now
    }

    /// An attempt went well while `in_flight` were under way, itself included.
    pub(crate) fn success(&mut self, in_flight: usize) {
        if self.now >= self.most || in_flight < self.now {
            return;
        }
        self.successes += 1;
        if self.successes >= self.now {
            self.successes = 0;
            self.now += 1;
        }
    }

    /// The attempt numbered `attempt` ended in trouble; the last one started is `started`.
    pub(crate) fn trouble(&mut self, attempt: u64, started: u64) {
        if attempt > self.halved_at {
            self.now = (self.now / 2).max(1);
            self.halved_at = started;
            self.successes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    enum Happens {
        /// So many successes while the limit is in use.
        Good(usize),
        /// So many successes of a sink that is not kept busy.
        Idle(usize),
        /// So many attempts that were under way together fail.
        Bad(u64),
    }
    use Happens::{Bad, Good, Idle};

    #[test]
    fn it_halves_once_for_troubles_that_come_together_and_grows_by_one_a_round() {
        let table: [(&str, &[Happens], usize); 7] = [
            ("a healthy sink is not slowed", &[Good(1000)], 8),
            ("one trouble", &[Bad(1)], 4),
            ("a whole round fails", &[Bad(8)], 4),
            ("round after round", &[Bad(8), Bad(4), Bad(2), Bad(1)], 1),
            (
                "never less than one",
                &[Bad(1), Bad(1), Bad(1), Bad(1), Bad(1)],
                1,
            ),
            (
                "it recovers",
                &[Bad(8), Good(4), Good(5), Good(6), Good(7), Good(99)],
                8,
            ),
            ("not while it is not in use", &[Bad(8), Idle(100)], 4),
        ];
        for (what, happens, expected) in table {
            let mut limit = Concurrency::new(8);
            let mut started = 0;
            for happens in happens {
                match *happens {
                    Good(times) => (0..times).for_each(|_| limit.success(limit.limit())),
                    Idle(times) => (0..times).for_each(|_| limit.success(1)),
                    Bad(times) => {
                        let first = started + 1;
                        started += times;
                        (first..=started).for_each(|attempt| limit.trouble(attempt, started));
                    }
                }
            }
            assert_eq!(limit.limit(), expected, "{what}");
        }
    }

    #[test]
    fn a_limit_of_nothing_is_one() {
        assert_eq!(Concurrency::new(0).limit(), 1);
    }
}
