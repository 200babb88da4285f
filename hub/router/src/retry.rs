//! What follows from an outcome: nothing, another attempt, or a dead letter. Knative's rules.

use std::time::Duration;

use dispatch_contract::{DeliverySpec, Outcome};

use crate::limits::Limits;

/// What to do after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Again(Duration),
    Dead,
}

/// `failed` counts this attempt, if it failed.
pub(crate) fn judge(
    outcome: &Outcome,
    failed: u32,
    spec: &DeliverySpec,
    limits: &Limits,
    dice: &mut Dice,
) -> Verdict {
    match outcome {
        Outcome::Accepted => Verdict::Done,
        Outcome::Rejected { .. } => Verdict::Dead,
        Outcome::Released { .. } if failed > spec.retry => Verdict::Dead,
        Outcome::Released { after, .. } => {
            let own = spec.backoff(failed).mul_f64(0.9 + 0.2 * dice.roll());
            let asked = after.map_or(Duration::ZERO, |after| asked_for(after, limits, dice));
            Verdict::Again(own.max(asked))
        }
    }
}

/// What a sink gets that asks for a time without attempts. Never less, so its jitter only adds; and not for ever.
pub(crate) fn asked_for(after: Duration, limits: &Limits, dice: &mut Dice) -> Duration {
    after
        .min(limits.longest_retry_after)
        .mul_f64(1.0 + 0.1 * dice.roll())
        .min(limits.longest_retry_after)
}

/// Random enough to spread retries, and the same again from the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 up to 1.
    pub(crate) fn roll(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(outcome: Outcome, failed: u32) -> Verdict {
        judge(
            &outcome,
            failed,
            &DeliverySpec::default(),
            &Limits::default(),
            &mut Dice::new(7),
        )
    }

    fn released(after: Option<u64>) -> Outcome {
        Outcome::Released {
            reason: "busy".into(),
            code: Some(503),
            after: after.map(Duration::from_secs),
        }
    }

    #[test]
    fn waits_double_within_a_tenth_until_the_retries_are_used_up() {
        for failed in 1..=10u32 {
            let Verdict::Again(wait) = verdict(released(None), failed) else {
                panic!("attempt {failed} should be followed by another");
            };
            let plain = 0.2 * f64::from(1 << (failed - 1));
            assert!(
                (wait.as_secs_f64() / plain - 1.0).abs() <= 0.1,
                "{failed}: {wait:?}"
            );
        }
        assert_eq!(verdict(released(None), 11), Verdict::Dead);
    }

    #[test]
    fn retry_after_is_honoured_and_clamped() {
        let wait = |after, failed| match verdict(released(Some(after)), failed) {
            Verdict::Again(wait) => wait.as_secs_f64(),
            other => panic!("{other:?}"),
        };
        assert!((30.0..=33.0).contains(&wait(30, 1)));
        assert_eq!(wait(1_000_000, 1), 600.0);
        assert!(wait(1, 10) > 90.0);
    }

    #[test]
    fn a_refusal_is_final() {
        let refused = Outcome::Rejected {
            reason: "no".into(),
            code: Some(400),
        };
        assert_eq!(verdict(refused, 1), Verdict::Dead);
        assert_eq!(verdict(Outcome::Accepted, 0), Verdict::Done);
    }
}
