//! How hard a subscription tries: Knative's `DeliverySpec`, with its names and defaults.

use std::time::Duration;

/// Settings of a subscription's deliveries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliverySpec {
    /// Attempts after the first.
    pub retry: u32,
    /// How the wait grows.
    pub backoff_policy: BackoffPolicy,
    /// First wait; `linear` waits `delay * n`, `exponential` waits `delay * 2^(n-1)`.
    pub backoff_delay: Duration,
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts under way at once.
    pub max_in_flight: usize,
    /// Whether events wait for earlier ones.
    pub order: Order,
    /// Attempts per second at most; `None`: as fast as they go.
    pub rate: Option<Rate>,
}

/// Whether events of a subscription wait for earlier ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// No event waits for another.
    #[default]
    None,
    /// Events of one key ([`Event::key`](crate::Event::key)) go one after the other, in the order of the log.
    Key,
}

/// So many a second: more than nothing, at most a million, to the thousandth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    thousandths: u64,
}

impl Rate {
    /// The lowest and the highest, per second.
    pub const RANGE: (f64, f64) = (0.001, 1_000_000.0);

    /// `None`: out of range.
    pub fn per_second(rate: f64) -> Option<Self> {
        let (lowest, highest) = Self::RANGE;
        (lowest..=highest).contains(&rate).then(|| Self {
            thousandths: (rate * 1000.0).round() as u64,
        })
    }

    /// From one to the next, rounded up: the rate is never exceeded.
    pub fn interval(self) -> Duration {
        Duration::from_nanos(1_000_000_000_000u64.div_ceil(self.thousandths.max(1)))
    }

    /// How many may go at once after a rest: those of one second, but at least one.
    pub fn burst(self) -> u64 {
        (self.thousandths / 1000).max(1)
    }
}

/// How the wait between attempts grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackoffPolicy {
    /// `delay * n`.
    Linear,
    /// `delay * 2^(n-1)`.
    Exponential,
}

impl DeliverySpec {
    /// The longest wait between two attempts, whatever the policy or the other side asks for.
    pub const MAX_BACKOFF: Duration = Duration::from_secs(3600);

    /// The wait after the `failed`-th failed attempt (1 for the first), before jitter.
    pub fn backoff(&self, failed: u32) -> Duration {
        let n = failed.max(1);
        let wait = match self.backoff_policy {
            BackoffPolicy::Linear => self.backoff_delay.checked_mul(n),
            BackoffPolicy::Exponential => 2u32
                .checked_pow(n - 1)
                .and_then(|f| self.backoff_delay.checked_mul(f)),
        };
        wait.unwrap_or(Self::MAX_BACKOFF).min(Self::MAX_BACKOFF)
    }
}

impl Default for DeliverySpec {
    fn default() -> Self {
        Self {
            retry: 10,
            backoff_policy: BackoffPolicy::Exponential,
            backoff_delay: Duration::from_millis(200),
            timeout: Duration::from_secs(30),
            max_in_flight: 128,
            order: Order::None,
            rate: None,
        }
    }
}

/// A duration that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a duration: write ISO 8601 (PT0.2S, PT1M, PT1H30M) or a number with a unit (200ms, 30s, 5m, 1h)"
)]
pub struct DurationError(pub String);

/// Reads `PT0.2S`, `PT1H30M`, `200ms`, `30s`, `1h30m`.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let fail = || DurationError(text.to_owned());
    let trimmed = text.trim();
    let upper = trimmed.to_ascii_uppercase();
    let (body, iso) = match upper.strip_prefix('P') {
        Some(rest) => (rest.to_owned(), true),
        None => (trimmed.to_ascii_lowercase(), false),
    };
    let mut seconds = 0f64;
    let mut number = String::new();
    let mut unit = String::new();
    let mut in_time = !iso;
    let mut parts = 0;
    let mut flush = |number: &mut String, unit: &mut String, in_time: bool| -> Option<()> {
        let value: f64 = number.parse().ok()?;
        let factor = match (unit.as_str(), iso, in_time) {
            ("D", true, false) | ("d", false, _) => 86_400.0,
            ("H", true, true) | ("h", false, _) => 3_600.0,
            ("M", true, true) | ("m", false, _) => 60.0,
            ("S", true, true) | ("s", false, _) => 1.0,
            ("ms", false, _) => 0.001,
            _ => return None,
        };
        seconds += value * factor;
        parts += 1;
        number.clear();
        unit.clear();
        Some(())
    };
    for c in body.chars() {
        if iso && c == 'T' && number.is_empty() && !in_time {
            in_time = true;
        } else if c.is_ascii_digit() || c == '.' {
            if !unit.is_empty() {
                flush(&mut number, &mut unit, in_time).ok_or_else(fail)?;
            }
            number.push(c);
        } else if c.is_ascii_alphabetic() && !number.is_empty() {
            unit.push(c);
            if iso {
                flush(&mut number, &mut unit, in_time).ok_or_else(fail)?;
            }
        } else {
            return Err(fail());
        }
    }
    if !number.is_empty() {
        flush(&mut number, &mut unit, in_time).ok_or_else(fail)?;
    }
    if parts == 0 {
        return Err(fail());
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_both_notations() {
        let table = [
            ("PT0.2S", 200),
            ("PT30S", 30_000),
            ("PT1H30M", 5_400_000),
            ("P1DT1S", 86_401_000),
            ("200ms", 200),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
        ];
        for (text, millis) in table {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "P", "PT", "5", "-1s", "1x", "PT1D", "s", "1.2.3s", "PTS"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn backoff_grows_as_the_policy_says_and_never_overflows() {
        let mut spec = DeliverySpec::default();
        let waits: Vec<_> = (1..=4).map(|n| spec.backoff(n).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1600]);
        assert_eq!(spec.backoff(u32::MAX), DeliverySpec::MAX_BACKOFF);
        spec.backoff_policy = BackoffPolicy::Linear;
        assert_eq!(spec.backoff(3).as_millis(), 600);
    }

    #[test]
    fn a_rate_is_an_interval_and_a_burst() {
        let table = [
            (0.001, Some((Duration::from_secs(1000), 1))),
            (0.5, Some((Duration::from_secs(2), 1))),
            (2.5, Some((Duration::from_millis(400), 2))),
            (3.0, Some((Duration::from_nanos(333_333_334), 3))),
            (1e6, Some((Duration::from_micros(1), 1_000_000))),
            (0.0, None),
            (-1.0, None),
            (1e6 + 1.0, None),
            (f64::NAN, None),
        ];
        for (rate, expected) in table {
            let found = Rate::per_second(rate).map(|r| (r.interval(), r.burst()));
            assert_eq!(found, expected, "{rate}");
        }
    }
}
