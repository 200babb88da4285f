//! Latencies, kept whole: a microsecond count of 32 bits for each, sorted once at the end.

use std::time::Duration;

use serde::Serialize;

/// Latencies seen so far.
#[derive(Debug, Default, Clone)]
pub(crate) struct Samples(Vec<u32>);

/// What is said about them, in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Latency {
    /// Half were faster.
    p50: u32,
    /// 99 of 100 were faster.
    p99: u32,
    /// The slowest.
    max: u32,
}

impl Samples {
    /// Adds one; more than 71 minutes count as 71 minutes.
    pub(crate) fn add(&mut self, latency: Duration) {
        self.0
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Adds all of the other.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// Sorts and says; nothing if there are none.
    pub(crate) fn latency(mut self) -> Option<Latency> {
        self.0.sort_unstable();
        Some(Latency {
            p50: self.percentile(50)?,
            p99: self.percentile(99)?,
            max: *self.0.last()?,
        })
    }

    /// The smallest latency that at least `percent` of all do not exceed (nearest rank).
    fn percentile(&self, percent: usize) -> Option<u32> {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.checked_sub(1)?).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut samples = Samples::default();
        for micros in (1..=200).rev() {
            samples.add(Duration::from_micros(micros));
        }

        let expected = Latency {
            p50: 100,
            p99: 198,
            max: 200,
        };
        assert_eq!(samples.latency(), Some(expected));
    }

    #[test]
    fn one_sample_is_all_of_them_and_none_is_nothing() {
        let mut one = Samples::default();
        one.add(Duration::from_micros(7));

        assert_eq!(
            one.latency(),
            Some(Latency {
                p50: 7,
                p99: 7,
                max: 7
            })
        );
        assert_eq!(Samples::default().latency(), None);
    }
}
