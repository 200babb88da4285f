//! How many deliveries a minute are taken: a bucket of a second's worth, at least one.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The bucket.
#[derive(Debug)]
pub(crate) struct Rate {
    interval: Duration,
    burst: Duration,
    /// When the bucket is full again.
    full: Mutex<Instant>,
}

impl Rate {
    /// So many a minute; at least one.
    pub(crate) fn per_minute(rate: u32) -> Self {
        let interval = Duration::from_secs(60) / rate.max(1);
        Self {
            interval,
            burst: Duration::from_secs(1).max(interval),
            full: Mutex::new(Instant::now()),
        }
    }

    /// Takes one, or says when to come again.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.take_at(Instant::now())
    }

    fn take_at(&self, now: Instant) -> Result<(), Duration> {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let after = (*full).max(now) + self.interval;
        let missing = after.duration_since(now);
        match missing <= self.burst {
            true => {
                *full = after;
                Ok(())
            }
            false => Err(missing - self.burst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_brings_as_many_as_were_granted() {
        let (rate, slow) = (Rate::per_minute(120), Rate::per_minute(1));
        let start = Instant::now();
        // Asked every 10 ms for a minute: what the bucket held at first, and 120.
        let taken = (0..6000u32).filter(|n| rate.take_at(start + Duration::from_millis(10) * *n).is_ok());
        assert!((120..=122).contains(&taken.count()));

        assert_eq!(slow.take_at(start), Ok(()));
        let wait = slow.take_at(start + Duration::from_secs(1)).unwrap_err();
        assert!(wait > Duration::from_secs(58), "{wait:?}");
    }
}
