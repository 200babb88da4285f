//! A circuit breaker: a sink that cannot be reached is left in peace, and asked now and then.
//!
//! ```text
//!            so many attempts in a row            the pause is over
//!   Closed ---------- in trouble ----------> Open -------------------> HalfOpen
//!     ^                                       ^                           |
//!     |                                       +--- the probe is in trouble, the next pause is longer
//!     +---------------- any answer that is no trouble --------------------+
//! ```
//!
//! Trouble is about the sink: no connection, no answer in time, 429, 502, 503, 504. A refusal or a 500 is
//! about the event, and shows that the sink is there. While it is open no attempt starts, so nobody's attempts
//! are used up; half open, exactly one is under way.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// One attempt every five seconds costs a sink that is down nothing, and one that is back waits no longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Breaker {
    state: State,
    /// Troubles in a row.
    troubles: u32,
    /// How often it opened since it was last closed.
    opened: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Duration,
    },
    /// `probe` numbers the attempt under way.
    HalfOpen {
        probe: Option<u64>,
    },
}

/// How a breaker stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Attempts are made.
    Closed,
    /// No attempt is made for now.
    Open,
    /// One attempt decides.
    HalfOpen,
}

impl BreakerState {
    /// `closed`, `open`, `half-open`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed,
            troubles: 0,
            opened: 0,
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether an attempt may start.
    pub(crate) fn admits(&self) -> bool {
        matches!(self.state, State::Closed | State::HalfOpen { probe: None })
    }

    /// An attempt starts.
    pub(crate) fn started(&mut self, attempt: u64) {
        if let State::HalfOpen { probe } = &mut self.state {
            *probe = Some(attempt);
        }
    }

    /// The sink answered. Returns whether this closed it.
    pub(crate) fn success(&mut self) -> bool {
        self.troubles = 0;
        let closes = self.state != State::Closed;
        if closes {
            *self = Self::new();
        }
        closes
    }

    /// An attempt ended in trouble; `roll`, from 0 to 1, spreads the pause. Returns until when it is open, if
    /// this opened it.
    pub(crate) fn trouble(&mut self, now: Duration, attempt: u64, most: u32, roll: f64) -> Option<Duration> {
        self.troubles = self.troubles.saturating_add(1);
        match self.state {
            State::Closed if self.troubles >= most.max(1) => {}
            State::HalfOpen { probe } if probe == Some(attempt) => {}
            // What started before it opened says nothing new.
            State::Closed | State::Open { .. } | State::HalfOpen { .. } => return None,
        }
        let pause = 2u32
            .checked_pow(self.opened)
            .and_then(|f| FIRST_PAUSE.checked_mul(f));
        let pause = pause.unwrap_or(LONGEST_PAUSE).min(LONGEST_PAUSE);
        let until = now + pause.mul_f64(0.9 + 0.2 * roll);
        self.opened += 1;
        self.state = State::Open { until };
        Some(until)
    }

    /// Becomes half open if its pause is over. Returns whether it did.
    pub(crate) fn wake(&mut self, now: Duration) -> bool {
        let over = matches!(self.state, State::Open { until } if until <= now);
        if over {
            self.state = State::HalfOpen { probe: None };
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(100);

    fn open() -> (Breaker, Duration) {
        let mut breaker = Breaker::new();
        let until = (1..=5).filter_map(|n| breaker.trouble(AT, n, 5, 0.5)).last();
        (breaker, until.unwrap())
    }

    #[test]
    fn it_opens_after_so_many_troubles_in_a_row() {
        let mut breaker = Breaker::new();
        for n in 1..5 {
            assert_eq!(breaker.trouble(AT, n, 5, 0.5), None);
        }
        assert!(!breaker.success(), "it was not open");
        for n in 5..9 {
            assert_eq!(breaker.trouble(AT, n, 5, 0.5), None);
        }
        assert!(breaker.admits());

        assert_eq!(
            breaker.trouble(AT, 9, 5, 0.5),
            Some(AT + Duration::from_millis(200))
        );

        assert!(!breaker.admits());
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn half_open_exactly_one_attempt_goes_and_decides() {
        let (mut breaker, until) = open();
        assert!(!breaker.wake(until - Duration::from_nanos(1)));
        assert!(breaker.wake(until));
        assert!(breaker.admits());
        breaker.started(7);
        assert!(!breaker.admits());

        assert_eq!(breaker.trouble(until, 3, 5, 0.5), None, "an older attempt");
        let next = breaker.trouble(until, 7, 5, 0.5).unwrap();

        assert_eq!(next - until, Duration::from_millis(400));
        assert!(breaker.wake(next));
        breaker.started(8);
        assert!(breaker.success());
        assert_eq!(breaker, Breaker::new());
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let (mut breaker, mut until) = open();
        let mut pauses = Vec::new();
        for n in 10..20 {
            breaker.wake(until);
            breaker.started(n);
            let next = breaker.trouble(until, n, 5, 0.5).unwrap();
            pauses.push((next - until).as_millis());
            until = next;
        }
        assert_eq!(pauses, [400, 800, 1600, 3200, 5000, 5000, 5000, 5000, 5000, 5000]);

        let (low, high) = (
            Breaker::new().trouble(AT, 1, 1, 0.0),
            Breaker::new().trouble(AT, 1, 1, 1.0),
        );
        assert_eq!(low, Some(AT + Duration::from_millis(180)));
        assert_eq!(high, Some(AT + Duration::from_millis(220)));
    }
}
