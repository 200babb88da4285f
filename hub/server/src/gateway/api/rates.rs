//! How many requests an API takes in a second: of everybody, and of each consumer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dispatch_schemas::ApiRateLimit;

use crate::quotas::{Buckets, Empty};
use crate::rest::error::ApiError;

/// What was taken of an API's rates. Buckets of tokens, a second's worth at once.
#[derive(Debug)]
pub(super) struct Rates {
    limit: ApiRateLimit,
    started: Instant,
    of_all: Mutex<Buckets>,
    of_each: Mutex<Buckets>,
}

impl Rates {
    pub(super) fn new(limit: ApiRateLimit) -> Self {
        Self {
            limit,
            started: Instant::now(),
            of_all: Mutex::default(),
            of_each: Mutex::default(),
        }
    }

    /// Takes one request of this consumer, or says when there is one. What one consumer may not is not taken of what
    /// all may.
    pub(super) fn take(&self, consumer: &str) -> Result<(), ApiError> {
        let ApiRateLimit {
            per_second,
            per_consumer,
        } = self.limit;
        if let Some(rate) = per_consumer {
            self.of(&self.of_each, consumer, rate)
                .map_err(|wait| refused(format!("a consumer may call {rate} times a second"), wait))?;
        }
        if let Some(rate) = per_second {
            self.of(&self.of_all, "", rate)
                .map_err(|wait| refused(format!("this API takes {rate} requests a second"), wait))?;
        }
        Ok(())
    }

    fn of(&self, buckets: &Mutex<Buckets>, consumer: &str, rate: u32) -> Result<(), Duration> {
        let now = self.started.elapsed();
        let name: Arc<str> = consumer.into();
        let mut buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        match buckets.get(&name, now).take(now, rate, 1) {
            Ok(()) => Ok(()),
            Err(Empty::For(wait)) => Err(wait),
            Err(Empty::Never) => Err(Duration::from_secs(1)),
        }
    }
}

fn refused(message: String, wait: Duration) -> ApiError {
    ApiError::too_many(message, wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_consumer_cannot_use_up_what_others_may() {
        let rates = Rates::new(ApiRateLimit {
            per_second: Some(3),
            per_consumer: Some(2),
        });

        let taken = ["a", "a", "a", "b", "b"].map(|consumer| rates.take(consumer).is_ok());

        assert_eq!(taken, [true, true, false, true, false], "three in all, two of a");
        assert!(
            Rates::new(ApiRateLimit {
                per_second: None,
                per_consumer: None
            })
            .take("a")
            .is_ok()
        );
    }
}
