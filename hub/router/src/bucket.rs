//! A rate as a bucket of tokens: so many a second, a second's worth at once.
//!
//! Kept as the time at which the bucket would be full again ("virtual scheduling"), so there is nothing to
//! refill. Over any span `t`, at most `burst + t / interval` are taken.

use std::time::Duration;

use dispatch_contract::Rate;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    rate: Rate,
    full_at: Duration,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate) -> Self {
        let full_at = Duration::ZERO;
        Self { rate, full_at }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes one. Returns when there is another; `None` when there is one now. To be called only when there is
    /// one.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Duration> {
        let interval = self.rate.interval();
        self.full_at = self.full_at.max(now) + interval;
        let spread = interval.saturating_mul(u32::try_from(self.rate.burst() - 1).unwrap_or(u32::MAX));
        let next = self.full_at.saturating_sub(spread);
        (next > now).then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_rate_is_never_exceeded_over_any_window(
            rate in 0.1f64..2000.0,
            rests in proptest::collection::vec(0u64..3_000, 1..40),
        ) {
            let rate = Rate::per_second(rate).unwrap();
            let mut bucket = Bucket::new(rate);
            let mut now = Duration::ZERO;
            let mut taken = Vec::new();

            for rest in rests {
                now += Duration::from_millis(rest);
                for _ in 0..20 {
                    taken.push(now);
                    now = bucket.take(now).unwrap_or(now);
                }
            }

            for (n, start) in taken.iter().enumerate() {
                for (m, end) in taken.iter().enumerate().skip(n) {
                    let window = (*end - *start).as_nanos() / rate.interval().as_nanos();
                    prop_assert!((m - n + 1) as u128 <= u128::from(rate.burst()) + window);
                }
            }
        }
    }

    #[test]
    fn a_steady_taker_gets_the_whole_rate() {
        let mut bucket = Bucket::new(Rate::per_second(100.0).unwrap());
        let mut now = Duration::ZERO;

        for _ in 0..1100 {
            now = bucket.take(now).unwrap_or(now);
        }

        assert_eq!(now, Duration::from_millis(10_010));
    }
}
