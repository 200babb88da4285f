//! The AWS SDK, set up: its usual credentials and region, our TLS, a bound on every wait.

use std::error::Error;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_sqs::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use dispatch_driver_sdk::{SettingError, chain};

use crate::config::Config;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a long poll, which is 20 s.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
const ATTEMPTS: u32 = 3;

/// The two services that are spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Clients {
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) eventbridge: aws_sdk_eventbridge::Client,
}

/// Reads region and credentials from where the AWS SDK has them. Nobody is spoken to yet, but by a machine in AWS
/// its own metadata service.
pub(crate) async fn connect(config: &Config) -> Result<Clients, SettingError> {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls)
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS));
    if let Some(region) = &config.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let sdk = loader.load().await;
    if sdk.region().is_none() {
        return Err(SettingError::Missing("region".to_owned()));
    }
    Ok(Clients {
        sqs: aws_sdk_sqs::Client::new(&sdk),
        eventbridge: aws_sdk_eventbridge::Client::new(&sdk),
    })
}

/// AWS did not do what it was asked to: one line, what it was and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what}: {why}")]
pub(crate) struct AwsError {
    what: &'static str,
    why: String,
}

impl AwsError {
    /// Something AWS said that makes no sense.
    pub(crate) fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self {
            what,
            why: why.into(),
        }
    }

    /// The service's own code and words, or how it could not be reached.
    pub(crate) fn of<E, R>(what: &'static str) -> impl Fn(SdkError<E, R>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
        R: std::fmt::Debug + 'static,
    {
        move |error| {
            let said = error.as_service_error().map(|service| {
                let code = service.code().unwrap_or("unknown error");
                match service.message() {
                    Some(message) => format!("{code}: {message}"),
                    None => code.to_owned(),
                }
            });
            Self::new(what, said.unwrap_or_else(|| line(&error)))
        }
    }
}

/// An error with its causes on one line of a bounded length.
fn line(error: &dyn Error) -> String {
    chain(error)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(300)
        .collect()
}
