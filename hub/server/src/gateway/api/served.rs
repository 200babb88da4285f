//! An API as the gateway serves it: checked, and ready to be asked.

use std::sync::Arc;
use std::time::Duration;

use dispatch_schemas::{Api, ApiRateLimit};
use http::Method;

use super::auth::Guard;
use super::rates::Rates;

/// One API of the table.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) organization: Arc<str>,
    pub(super) api: Api,
    pub(super) name: Arc<str>,
    pub(super) function: Arc<str>,
    /// Every method when empty.
    pub(super) methods: Vec<Method>,
    pub(super) guard: Guard,
    pub(super) rates: Rates,
}

impl Served {
    /// Makes one of a normalised resource; fails with what is wrong with it.
    pub(super) fn new(organization: Arc<str>, api: Api) -> Result<Self, String> {
        let methods: Result<Vec<Method>, _> = api.methods.iter().map(|method| method.parse()).collect();
        Ok(Self {
            organization,
            name: api.name.as_str().into(),
            function: api.function.as_str().into(),
            methods: methods.map_err(|_| "methods: one is no method".to_owned())?,
            guard: Guard::of(&api)?,
            rates: Rates::new(api.rate_limit.unwrap_or(ApiRateLimit {
                per_second: None,
                per_consumer: None,
            })),
            api,
        })
    }

    /// Whether it is served over this.
    pub(super) fn speaks(&self, scheme: &str) -> bool {
        self.api.protocols.is_empty() || self.api.protocols.iter().any(|protocol| protocol == scheme)
    }

    /// How long a caller waits.
    pub(super) fn timeout(&self, most: Duration) -> Duration {
        match u64::try_from(self.api.timeout) {
            Ok(ms @ 1..) => Duration::from_millis(ms),
            Ok(0) | Err(_) => most,
        }
    }

    /// Bytes of a body.
    pub(super) fn body_bytes(&self, most: usize) -> usize {
        match usize::try_from(self.api.max_body_bytes) {
            Ok(own @ 1..) => own.min(most),
            Ok(0) | Err(_) => most,
        }
    }
}
