//! Whether a lane may start an attempt: how many at once, how many a second, and whether its sink is asked at
//! all for now.
//!
//! One place for what the sink's answers teach: [`Concurrency`], [`Breaker`], the pause it asked for with
//! `Retry-After`, and the rate people set. A lane that is held has one time at which it is not any more; without
//! trouble and without a rate nothing here costs more than a comparison.

use std::time::Duration;

use dispatch_contract::{DeliverySpec, Outcome};

use crate::breaker::{Breaker, BreakerState};
use crate::bucket::Bucket;
use crate::concurrency::Concurrency;
use crate::limits::Limits;
use crate::retry::{Dice, asked_for};

#[derive(Debug)]
pub(crate) struct Gate {
    concurrency: Concurrency,
    breaker: Breaker,
    open_until: Duration,
    bucket: Option<Bucket>,
    next_token: Duration,
    paused_until: Duration,
    held: Option<Duration>,
}

/// An attempt at the lane's sink that ended.
pub(crate) struct Ended<'a> {
    /// Its number: later ones have higher ones.
    pub(crate) attempt: u64,
    /// The number of the last one that started.
    pub(crate) started: u64,
    pub(crate) outcome: &'a Outcome,
    /// How many were under way, itself included.
    pub(crate) in_flight: usize,
}

impl Gate {
    pub(crate) fn new(delivery: &DeliverySpec) -> Self {
        Self {
            concurrency: Concurrency::new(delivery.max_in_flight),
            breaker: Breaker::new(),
            open_until: Duration::ZERO,
            bucket: delivery.rate.map(Bucket::new),
            next_token: Duration::ZERO,
            paused_until: Duration::ZERO,
            held: None,
        }
    }

    /// The subscription was changed: what was learnt of its sink counts no more, only the rate goes on.
    pub(crate) fn change(&mut self, now: Duration, delivery: &DeliverySpec) {
        let before = self.bucket.take().filter(|b| Some(b.rate()) == delivery.rate);
        let next_token = if before.is_some() {
            self.next_token
        } else {
            Duration::ZERO
        };
        *self = Self {
            bucket: before.or(delivery.rate.map(Bucket::new)),
            next_token,
            ..Self::new(delivery)
        };
        self.hold(now);
    }

    /// Whether an attempt may start while `in_flight` are under way.
    pub(crate) fn admits(&self, in_flight: usize) -> bool {
        self.held.is_none() && in_flight < self.concurrency.limit() && self.breaker.admits()
    }

    /// An attempt starts; `probes` says that it goes to the lane's own sink.
    pub(crate) fn started(&mut self, now: Duration, attempt: u64, probes: bool) {
        if probes {
            self.breaker.started(attempt);
        }
        if let Some(bucket) = &mut self.bucket {
            self.next_token = bucket.take(now).unwrap_or_default();
            self.hold(now);
        }
    }

    /// An attempt at the lane's own sink ended. Returns how the breaker stands if that is news.
    pub(crate) fn ended(
        &mut self,
        now: Duration,
        ended: &Ended<'_>,
        limits: &Limits,
        dice: &mut Dice,
    ) -> Option<BreakerState> {
        if !is_trouble(ended.outcome) {
            self.concurrency.success(ended.in_flight);
            let closes = self.breaker.success();
            if closes {
                self.open_until = Duration::ZERO;
                self.hold(now);
            }
            return closes.then_some(BreakerState::Closed);
        }
        self.concurrency.trouble(ended.attempt, ended.started);
        if let Outcome::Released {
            code: Some(429 | 503),
            after: Some(after),
            ..
        } = ended.outcome
        {
            self.paused_until = self.paused_until.max(now + asked_for(*after, limits, dice));
        }
        let opened = self
            .breaker
            .trouble(now, ended.attempt, limits.breaker_after, dice.roll());
        self.open_until = opened.unwrap_or(self.open_until);
        self.hold(now);
        opened.map(|_| BreakerState::Open)
    }

    /// Lets go of a lane that was held long enough. Returns how the breaker stands if that is news.
    pub(crate) fn wake(&mut self, now: Duration) -> Option<BreakerState> {
        if self.held.is_none_or(|at| at > now) {
            return None;
        }
        self.held = None;
        self.breaker.wake(now).then_some(BreakerState::HalfOpen)
    }

    /// Until when no attempt starts.
    pub(crate) fn held(&self) -> Option<Duration> {
        self.held
    }
    pub(crate) fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }
    pub(crate) fn concurrency(&self) -> usize {
        self.concurrency.limit()
    }

    fn hold(&mut self, now: Duration) {
        let until = self.open_until.max(self.next_token).max(self.paused_until);
        // An open breaker lets go in `wake` alone.
        let open = self.breaker.state() == BreakerState::Open;
        self.held = Some(until).filter(|at| open || *at > now);
    }
}

/// Whether an outcome says something about the sink and not about the event: not reachable, no answer in time,
/// or it said so itself.
fn is_trouble(outcome: &Outcome) -> bool {
    matches!(
        outcome,
        Outcome::Released {
            code: None | Some(429 | 502 | 503 | 504),
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use dispatch_contract::Rate;

    use super::*;

    const NOW: Duration = Duration::from_secs(50);

    fn released(code: Option<u16>, after: Option<u64>) -> Outcome {
        Outcome::Released {
            reason: "x".into(),
            code,
            after: after.map(Duration::from_secs),
        }
    }

    fn end(gate: &mut Gate, now: Duration, attempt: u64, outcome: &Outcome) -> Option<BreakerState> {
        let ended = Ended {
            attempt,
            started: attempt,
            outcome,
            in_flight: 1,
        };
        gate.ended(now, &ended, &Limits::default(), &mut Dice::new(3))
    }

    #[test]
    fn trouble_is_about_the_sink_and_not_about_the_event() {
        let rejected = |code| Outcome::Rejected {
            reason: "x".into(),
            code,
        };
        for code in [None, Some(429), Some(502), Some(503), Some(504)] {
            assert!(is_trouble(&released(code, None)), "{code:?}");
        }
        for code in [Some(404), Some(408), Some(409), Some(500), Some(501), Some(505)] {
            assert!(!is_trouble(&released(code, None)), "{code:?}");
        }
        for outcome in [Outcome::Accepted, rejected(None), rejected(Some(400))] {
            assert!(!is_trouble(&outcome), "{outcome:?}");
        }
    }

    #[test]
    fn a_sink_that_asks_for_time_gets_it_from_the_whole_lane() {
        let mut gate = Gate::new(&DeliverySpec::default());

        end(&mut gate, NOW, 1, &released(Some(429), Some(20)));

        let until = gate.held().unwrap();
        assert!((NOW + Duration::from_secs(20)..NOW + Duration::from_secs(22)).contains(&until));
        assert!(!gate.admits(0));
        assert_eq!(gate.wake(until), None);
        assert!(gate.admits(0));
        end(&mut gate, NOW, 2, &released(Some(503), Some(1_000_000)));
        assert_eq!(gate.held(), Some(NOW + Limits::default().longest_retry_after));
        let mut other = Gate::new(&DeliverySpec::default());
        end(&mut other, NOW, 1, &released(Some(409), Some(20)));
        assert!(other.admits(0), "409 is about the event");
    }

    #[test]
    fn a_rate_holds_the_lane_until_the_next_token_and_outlives_a_change() {
        let delivery = DeliverySpec {
            rate: Rate::per_second(2.0),
            ..DeliverySpec::default()
        };
        let mut gate = Gate::new(&delivery);
        gate.started(NOW, 1, true);
        assert!(gate.admits(1));
        gate.started(NOW, 2, true);
        assert_eq!(gate.held(), Some(NOW + Duration::from_millis(500)));

        gate.change(NOW, &delivery);
        assert!(!gate.admits(2));

        gate.change(NOW, &DeliverySpec::default());
        assert!(gate.admits(2));
    }

    #[test]
    fn a_closed_breaker_lets_go_at_once_but_a_pause_is_kept() {
        let mut gate = Gate::new(&DeliverySpec::default());
        for n in 1..5 {
            assert_eq!(end(&mut gate, NOW, n, &released(None, None)), None);
        }
        assert_eq!(
            end(&mut gate, NOW, 5, &released(None, None)),
            Some(BreakerState::Open)
        );
        assert!(gate.held().is_some());

        let closed = end(&mut gate, NOW, 4, &Outcome::Accepted);

        assert_eq!((closed, gate.held()), (Some(BreakerState::Closed), None));
    }
}
