//! An event subscription of a namespace topic: the five operations of pull delivery (Event Grid REST, data plane
//! 2024-06-01). Each is tried once.

use std::time::Duration;

use dispatch_driver_sdk::outgoing;
use reqwest::{Client, RequestBuilder};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use url::Url;

use crate::credential::Credential;
use crate::web::{self, WebError};

/// The most events of one request. An event has at most a mebibyte.
pub(crate) const MOST_EVENTS: usize = 32;
/// Twice what that many events may have.
const MOST_BYTES: usize = 64 << 20;
/// How long the service waits for a first event; it takes 10 s to 120 s.
const LONG_POLL: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(10);
const API_VERSION: &str = "2024-06-01";

/// The subscription. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Namespace {
    client: Client,
    place: Url,
    credential: Credential,
}

/// An event that nobody else gets for a while.
#[derive(Debug)]
pub(crate) struct Received {
    /// By which it is settled.
    pub(crate) token: String,
    /// As it came.
    pub(crate) event: Box<RawValue>,
}

/// What is to become of received events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settle {
    /// Done with.
    Acknowledge,
    /// Somebody gets them again after that many seconds: 0, 10, 60, 600 or 3600.
    Release(u32),
    /// Kept for as long again.
    Renew,
}

#[derive(serde::Deserialize)]
struct Answer {
    value: Vec<Box<RawValue>>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    broker_properties: Broker,
    event: Box<RawValue>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Broker {
    lock_token: String,
}

/// A token that was not settled.
#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Failed {
    /// Which.
    pub(crate) lock_token: String,
    /// Why.
    #[serde(default)]
    pub(crate) error: Reason,
}

/// Why a token was not settled, in the service's words.
#[derive(Debug, Default, serde::Deserialize)]
pub(crate) struct Reason {
    #[serde(default)]
    pub(crate) code: String,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Settled {
    #[serde(default)]
    failed_lock_tokens: Vec<Failed>,
}

impl Namespace {
    /// The subscription of that name. Nobody is spoken to yet.
    pub(crate) fn new(
        endpoint: &Url,
        topic: &str,
        subscription: &str,
        credential: Credential,
    ) -> Result<Self, reqwest::Error> {
        let mut place = endpoint.clone();
        place.set_query(Some(&format!("api-version={API_VERSION}")));
        place.set_path(&format!("/topics/{topic}/eventsubscriptions/{subscription}"));
        Ok(Self {
            client: outgoing(TIMEOUT)?,
            place,
            credential,
        })
    }

    /// Events that nobody else gets until their lock ends; none after a while without any.
    pub(crate) async fn receive(&self) -> Result<Vec<Received>, WebError> {
        let place = self.operation(
            "receive",
            &[
                ("maxEvents", MOST_EVENTS as u64),
                ("maxWaitTime", LONG_POLL.as_secs()),
            ],
        );
        let request = self.client.post(place).timeout(LONG_POLL + TIMEOUT);
        let answer: Answer = self.ask(request, MOST_BYTES).await?;
        let items = answer.value.iter();
        Ok(items.filter_map(|item| received(item)).collect())
    }

    /// Says what is to become of events; comes back with those of which the service did not hear it.
    pub(crate) async fn settle(&self, how: Settle, tokens: &[&str]) -> Result<Vec<Failed>, WebError> {
        let place = match how {
            Settle::Acknowledge => self.operation("acknowledge", &[]),
            Settle::Release(after) => self.operation("release", &[("releaseDelayInSeconds", after.into())]),
            Settle::Renew => self.operation("renewLock", &[]),
        };
        let request = self.client.post(place);
        let body = serde_json::json!({"lockTokens": tokens});
        let settled: Settled = self.ask(request.json(&body), MOST_BYTES).await?;
        Ok(settled.failed_lock_tokens)
    }

    /// Whether the subscription is there and lets this driver in. It renews a lock that nobody has, so no event is
    /// taken: the service answers 200 and says that of the lock (azure-rest-api-specs, pull request 23204).
    pub(crate) async fn probe(&self) -> Result<(), WebError> {
        self.settle(Settle::Renew, &["none"]).await.map(|_| ())
    }

    async fn ask<T: DeserializeOwned>(&self, request: RequestBuilder, most: usize) -> Result<T, WebError> {
        let header = self.credential.header().await?;
        let answer = web::json(request.header("authorization", header), most).await;
        if let Err(error) = &answer
            && error.status() == Some(http::StatusCode::UNAUTHORIZED)
        {
            self.credential.forget().await;
        }
        answer
    }

    fn operation(&self, name: &str, query: &[(&str, u64)]) -> Url {
        let mut place = self.place.clone();
        place.set_path(&format!("{}:{name}", self.place.path()));
        for (key, value) in query {
            place.query_pairs_mut().append_pair(key, &value.to_string());
        }
        place
    }
}

/// What has no token cannot be settled; it comes again, or the service puts it aside.
fn received(item: &RawValue) -> Option<Received> {
    match serde_json::from_str::<Item>(item.get()) {
        Ok(item) => Some(Received {
            token: item.broker_properties.lock_token,
            event: item.event,
        }),
        Err(error) => {
            tracing::warn!("the namespace sent what cannot be settled: {error}");
            None
        }
    }
}
