//! How many events an organization may bring in a second and keep in the journal, at every door; and how many calls
//! through its APIs may have somebody waiting.
//!
//! For the rate, a bucket of tokens for each organization that has a quota, a second's worth at once. An event costs one, known
//! or not; a request gets all it needs or nothing. Without any quota this costs one load. What an organization may
//! have under way at once is the router's to keep; `reload.rs` tells both when the configuration changes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use dispatch_contract::{Event, Log};

use crate::config;
use crate::rest::error::ApiError;

/// Organizations whose rate is kept apart; while more send within the same second, those share one bucket.
const MOST_BUCKETS: usize = 10_000;
/// What a bucket holds: the events of so much time.
const BURST: Duration = Duration::from_secs(1);
/// Retention makes room; nobody knows when.
const UNTIL_RETENTION: Duration = Duration::from_secs(30);
/// The names of the quotas.
const EVENTS_PER_SECOND: &str = "events-per-second";
pub(crate) const BYTES_STORED: &str = "bytes-stored";
pub(crate) const IN_FLIGHT: &str = "in-flight";
/// When one of many calls may have ended.
const UNTIL_A_CALL_ENDS: Duration = Duration::from_secs(1);
/// What an event costs.
const TOKEN: u128 = 1_000_000_000;

/// The quotas as they are now, and what was used of them.
#[derive(Debug)]
pub(crate) struct Quotas {
    /// None when nobody is bounded.
    now: ArcSwapOption<config::Quotas>,
    buckets: Mutex<Buckets>,
    started: Instant,
}

/// Buckets by name, bounded in number.
#[derive(Debug, Default)]
pub(crate) struct Buckets {
    of: HashMap<Arc<str>, Bucket>,
    /// When those that were full again were last thrown away.
    swept: Duration,
}

/// Tokens are counted in billionths: a rate of one a second brings one of them in a nanosecond, and nothing is rounded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// How many were missing to be full.
    missing: u128,
    /// When that was.
    at: Duration,
}

/// Why a bucket gives nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Empty {
    /// It holds fewer when it is full.
    Never,
    /// There are so many after this.
    For(Duration),
}

impl Quotas {
    /// Begins with these.
    pub(crate) fn new(quotas: &config::Quotas) -> Self {
        let new = Self {
            now: ArcSwapOption::empty(),
            buckets: Mutex::default(),
            started: Instant::now(),
        };
        new.set(quotas);
        new
    }

    /// From now on these.
    pub(crate) fn set(&self, quotas: &config::Quotas) {
        let bounds = quotas.bounds_anybody();
        self.now.store(bounds.then(|| Arc::new(quotas.clone())));
    }

    /// Takes so many events of an organization's rate, or none of it and says when there are as many.
    pub(crate) fn take(&self, organization: &Arc<str>, events: usize) -> Result<(), ApiError> {
        let now = self.now.load();
        let Some(rate) = now.as_ref().and_then(|now| now.events_per_second(organization)) else {
            return Ok(());
        };
        self.take_of(organization, rate, events).map_err(|empty| {
            crate::metrics::over_quota(organization, EVENTS_PER_SECOND, events);
            let quota = format!("organization {organization} may bring {rate} events a second ({EVENTS_PER_SECOND} of its quota)");
            match empty {
                Empty::Never => ApiError::too_large(format!("{quota}: {events} are too many at once")),
                Empty::For(wait) => ApiError::too_many(quota, wait),
            }
        })
    }

    /// Refuses events that would not fit beside what the log keeps of their organization.
    pub(crate) fn fit(
        &self,
        organization: &Arc<str>,
        events: &[Event],
        log: &dyn Log,
    ) -> Result<(), ApiError> {
        let bytes = || events.iter().map(|event| event.encoded().len() as u64).sum();
        self.fit_bytes(organization, events.len(), bytes, log)
    }

    /// The same for so many events that are not made yet, of about so many bytes.
    pub(crate) fn fit_bytes(
        &self,
        organization: &Arc<str>,
        events: usize,
        bytes: impl FnOnce() -> u64,
        log: &dyn Log,
    ) -> Result<(), ApiError> {
        let now = self.now.load();
        let most = now.as_ref().and_then(|now| now.bytes_stored(organization));
        let Some((most, kept)) = most.zip(log.kept_bytes(organization)) else {
            return Ok(());
        };
        let new = bytes();
        if new == 0 || kept.saturating_add(new) <= most {
            return Ok(());
        }
        crate::metrics::over_quota(organization, BYTES_STORED, events);
        let quota = format!(
            "organization {organization} may have {most} bytes of events in the journal ({BYTES_STORED} of its quota)"
        );
        Err(match new > most {
            true => ApiError::too_large(format!("{quota}: {new} are too many")),
            false => ApiError::too_many(format!("{quota} and has {kept}"), UNTIL_RETENTION),
        })
    }

    /// One more call through an API, which `begin` counts, given the most there may be; or that there are enough.
    pub(crate) fn calls<C>(
        &self,
        organization: &Arc<str>,
        begin: impl FnOnce(Option<u64>) -> Option<C>,
    ) -> Result<C, ApiError> {
        let now = self.now.load();
        let most = now.as_ref().and_then(|now| now.in_flight_of(organization));
        begin(most).ok_or_else(|| {
            crate::metrics::over_quota(organization, IN_FLIGHT, 1);
            let most = most.unwrap_or_default();
            ApiError::too_many(
                format!("organization {organization} may have {most} calls under way at once ({IN_FLIGHT} of its quota)"),
                UNTIL_A_CALL_ENDS,
            )
        })
    }

    fn take_of(&self, organization: &Arc<str>, rate: u32, events: usize) -> Result<(), Empty> {
        let now = self.started.elapsed();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.get(organization, now).take(now, rate, events)
    }
}

impl Buckets {
    /// The bucket of this name, or the one that further names share.
    pub(crate) fn get(&mut self, organization: &Arc<str>, now: Duration) -> &mut Bucket {
        let known = self.of.contains_key(organization);
        if !known && self.of.len() >= MOST_BUCKETS && now >= self.swept + BURST {
            // One that had time to fill is as good as a new one.
            self.of.retain(|_, bucket| bucket.at + BURST > now);
            self.swept = now;
        }
        let own = known || self.of.len() < MOST_BUCKETS;
        let name = if own { organization.clone() } else { "".into() };
        self.of.entry(name).or_default()
    }
}

impl Bucket {
    /// Takes so many, or nothing.
    pub(crate) fn take(&mut self, now: Duration, rate: u32, events: usize) -> Result<(), Empty> {
        if events > rate as usize {
            return Err(Empty::Never);
        }
        let rate = u128::from(rate);
        let full = rate * BURST.as_nanos();
        let came = rate * now.saturating_sub(self.at).as_nanos();
        // A rate that was lowered leaves nobody in debt.
        let missing = self.missing.min(full).saturating_sub(came) + events as u128 * TOKEN;
        if missing > full {
            let wait = (missing - full).div_ceil(rate);
            return Err(Empty::For(Duration::from_nanos(
                u64::try_from(wait).unwrap_or(u64::MAX),
            )));
        }
        *self = Self {
            missing,
            at: now.max(self.at),
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(50);

    #[test]
    fn a_second_is_worth_the_rate_one_by_one_or_at_once_and_not_one_more() {
        for rate in [1, 3, 7, 1000, 99_999] {
            let (mut one_by_one, mut at_once) = (Bucket::default(), Bucket::default());

            let taken = (0..rate + 1).filter(|_| one_by_one.take(NOW, rate, 1).is_ok());
            assert_eq!(taken.count(), rate as usize, "{rate}");
            assert_eq!(at_once.take(NOW, rate, rate as usize), Ok(()));
            assert!(matches!(at_once.take(NOW, rate, 1), Err(Empty::For(_))), "{rate}");
        }
    }

    #[test]
    fn what_is_refused_takes_nothing_and_is_there_after_the_time_that_was_said() {
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(NOW, 10, 8), Ok(()));

        let refused = bucket.take(NOW, 10, 5);

        assert_eq!(refused, Err(Empty::For(Duration::from_millis(300))));
        assert_eq!(bucket.take(NOW, 10, 2), Ok(()), "less of it is still there");
        let mut bucket = Bucket::default();
        assert_eq!(bucket.take(NOW, 10, 8), Ok(()));
        assert_eq!(bucket.take(NOW + Duration::from_millis(300), 10, 5), Ok(()));
    }

    #[test]
    fn more_than_a_full_bucket_is_never_there_and_nothing_always() {
        let mut bucket = Bucket::default();

        assert_eq!(bucket.take(NOW, 10, 11), Err(Empty::Never));
        assert_eq!(bucket.take(NOW, 10, 10), Ok(()));
        assert_eq!(bucket.take(NOW, 10, 0), Ok(()), "a checkpoint alone");
    }

    #[test]
    fn over_a_long_time_no_more_than_the_rate_is_taken() {
        let mut bucket = Bucket::default();

        let asks = (0..10_000).map(|ms| NOW + Duration::from_millis(ms));
        let taken = asks.filter(|now| bucket.take(*now, 70, 2).is_ok()).count() * 2;

        assert!((765..=770).contains(&taken), "{taken}");
    }

    #[test]
    fn however_many_organizations_there_are_so_many_buckets_are_kept() {
        let mut buckets = Buckets::default();
        let names: Vec<Arc<str>> = (0..MOST_BUCKETS + 5).map(|n| n.to_string().into()).collect();

        let taken = names
            .iter()
            .filter(|name| buckets.get(name, NOW).take(NOW, 2, 2).is_ok());

        assert_eq!(taken.count(), MOST_BUCKETS + 1, "the further ones share one");
        assert_eq!(buckets.of.len(), MOST_BUCKETS + 1);

        let later = NOW + 2 * BURST;
        assert_eq!(buckets.get(&"new".into(), later).take(later, 2, 2), Ok(()));

        assert_eq!(buckets.of.len(), 1);
    }
}
