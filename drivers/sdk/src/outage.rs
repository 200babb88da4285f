//! The outside does not answer: said once, shown in the driver's health, tried again less and less often.

use std::fmt::Display;
use std::time::Duration;

use crate::hub::Health;
use crate::run::Context;
use crate::stop::Stopped;

const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// How often something outside failed in a row, and how long to wait for it.
#[derive(Debug)]
pub struct Outage {
    of: &'static str,
    failed: u32,
}

impl Outage {
    /// None yet, of what is called so in the log.
    pub fn of(name: &'static str) -> Self {
        Self { of: name, failed: 0 }
    }

    /// It failed: says so and waits, 1 s to 60 s with a quarter of jitter, and no less than `after`.
    pub async fn wait(
        &mut self,
        error: &impl Display,
        after: Option<Duration>,
        context: &Context,
    ) -> Result<(), Stopped> {
        match self.failed {
            0 => tracing::warn!("{error}; trying until it works"),
            _ => tracing::debug!(failed = self.failed, "{error}"),
        }
        context.hub.report(Health::Failing(error.to_string())).await;
        let wait = wait(self.failed).max(after.unwrap_or_default().min(LONGEST_WAIT));
        self.failed = self.failed.saturating_add(1);
        context.stop.sleep(wait).await
    }

    /// It answers.
    pub async fn over(&mut self, context: &Context) {
        if std::mem::take(&mut self.failed) > 0 {
            tracing::info!("{} answers again", self.of);
        }
        context.hub.report(Health::Ready).await;
    }
}

fn wait(failed: u32) -> Duration {
    let doubled = FIRST_WAIT.saturating_mul(2u32.saturating_pow(failed));
    doubled.min(LONGEST_WAIT).mul_f64(0.75 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_minute() {
        for (failed, least, most) in [(0, 750, 1_250), (3, 6_000, 10_000), (99, 45_000, 75_000)] {
            let millis = wait(failed).as_millis();
            assert!((least..=most).contains(&millis), "{failed}: {millis}");
        }
    }
}
