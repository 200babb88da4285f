//! SNS over HTTPS: subscriptions are confirmed, notifications checked and taken.
//!
//! SNS repeats after 429 and 5xx and drops what is answered with any other 4xx. So it hears 200 when the hub has the
//! event, and else 503 whatever is wrong: a topic that is missing among the settings, a certificate that cannot be
//! had. Nothing is fetched but from the SNS of a topic that is set. A raw notification carries no signature, so
//! it needs the secret.

use chrono::{DateTime, TimeDelta, Utc};
use dispatch_driver_sdk::{Acceptor, Arrival, Reply, later, reply};

use crate::certificate::Certificates;
use crate::message::Origin;
use crate::secret::Secrets;
use crate::signature::{SignatureError, Signed};
use crate::sns::Envelope;
use crate::topic::{Topic, Topics};

/// Header by which a request of SNS is known.
pub(crate) const TYPE_HEADER: &str = "x-amz-sns-message-type";
/// SNS repeats for an hour; the hub knows what it had for longer than a day.
const OLDEST: TimeDelta = TimeDelta::hours(24);
const NEWEST: TimeDelta = TimeDelta::minutes(15);

/// Who may send by HTTPS, and how it is checked.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    topics: Topics,
    secret: Option<Secrets>,
    certificates: Certificates,
}

/// Why a request is not believed.
#[derive(Debug, thiserror::Error)]
enum Stranger {
    #[error("the secret is missing or wrong")]
    Secret,
    #[error("sns-topics does not name {0:?}")]
    Topic(String),
    #[error("a raw notification has no signature: set sns-secret, or turn raw delivery off")]
    Raw,
    #[error("a raw notification without {0}")]
    Header(&'static str),
    #[error("the body is not what SNS sends: {0}")]
    Body(#[from] serde_json::Error),
    #[error("{0} is not at the topic's SNS")]
    Place(&'static str),
    #[error("the certificate {0}")]
    Certificate(String),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("it was signed at {0}: too long ago, or not yet")]
    Age(String),
    #[error("its type {0:?} is none of SNS")]
    Type(String),
    #[error("the subscription cannot be confirmed: it {0}")]
    Unconfirmed(String),
}

/// What there is to do for a request that is believed.
enum Wanted {
    Events(Envelope),
    Nothing,
}

impl Subscriptions {
    /// These topics, with this secret in the query if there is one.
    pub(crate) fn new(topics: Topics, secret: Option<Secrets>) -> Result<Self, reqwest::Error> {
        Ok(Self {
            topics,
            secret,
            certificates: Certificates::new()?,
        })
    }

    /// Answers a request that has [`TYPE_HEADER`].
    pub(crate) async fn answer(&self, origin: &Origin, acceptor: &Acceptor, arrival: &Arrival) -> Reply {
        let envelope = match self.wanted(arrival).await {
            Ok(Wanted::Events(envelope)) => envelope,
            Ok(Wanted::Nothing) => return reply(200, ""),
            Err(stranger) => {
                tracing::warn!("a request of SNS is told to come again: {stranger}");
                return later(stranger.to_string());
            }
        };
        let events = match origin.notified(&envelope) {
            Ok(events) => events,
            Err(error) => return later(error.to_string()),
        };
        match acceptor.accept_or_skip(events).await {
            Ok(emitted) if emitted.refused.is_empty() => reply(200, ""),
            Ok(_) => later("the hub refuses the event"),
            Err(_) => later("the hub does not take the event now"),
        }
    }

    async fn wanted(&self, arrival: &Arrival) -> Result<Wanted, Stranger> {
        if !self.knows_secret(arrival) {
            return Err(Stranger::Secret);
        }
        if arrival.header("x-amz-sns-rawdelivery") == Some("true") {
            return self.raw(arrival).map(Wanted::Events);
        }
        let signed: Signed = serde_json::from_slice(&arrival.body)?;
        let topic = self.believed(&signed).await?;
        match signed.ty.as_str() {
            "Notification" => Ok(Wanted::Events(signed.into())),
            "SubscriptionConfirmation" => {
                self.confirm(topic, &signed).await?;
                Ok(Wanted::Nothing)
            }
            "UnsubscribeConfirmation" => {
                tracing::warn!(topic = topic.arn(), "the subscription was ended");
                Ok(Wanted::Events(signed.into()))
            }
            other => Err(Stranger::Type(other.to_owned())),
        }
    }

    /// The query parameter `secret`; nothing is asked for where none is set.
    fn knows_secret(&self, arrival: &Arrival) -> bool {
        let Some(secret) = &self.secret else {
            return true;
        };
        let query = arrival.uri.query().unwrap_or_default();
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        let given = pairs.find(|(key, _)| key == "secret");
        given.is_some_and(|(_, given)| secret.admit(&given))
    }

    fn raw(&self, arrival: &Arrival) -> Result<Envelope, Stranger> {
        if self.secret.is_none() {
            return Err(Stranger::Raw);
        }
        let header = |name| arrival.header(name).ok_or(Stranger::Header(name));
        let topic = self.allowed(header("x-amz-sns-topic-arn")?)?;
        Ok(Envelope {
            ty: "Notification".to_owned(),
            message_id: header("x-amz-sns-message-id")?.to_owned(),
            topic_arn: topic.arn().to_owned(),
            subject: None,
            message: String::from_utf8_lossy(&arrival.body).into_owned(),
            timestamp: String::new(),
        })
    }

    fn allowed(&self, arn: &str) -> Result<&Topic, Stranger> {
        let found = self.topics.find(arn);
        found.ok_or_else(|| Stranger::Topic(arn.chars().take(300).collect()))
    }

    /// The topic that signed it.
    async fn believed(&self, signed: &Signed) -> Result<&Topic, Stranger> {
        let topic = self.allowed(&signed.topic_arn)?;
        let place = self.topics.certificate(topic, &signed.certificate);
        let place = place.ok_or(Stranger::Place("SigningCertURL"))?;
        let key = self
            .certificates
            .key(&place)
            .await
            .map_err(Stranger::Certificate)?;
        signed.verify(&key)?;
        let old = || Stranger::Age(signed.timestamp.chars().take(40).collect());
        let at: DateTime<Utc> = signed.timestamp.parse().map_err(|_| old())?;
        let age = Utc::now() - at;
        match age <= OLDEST && age >= -NEWEST {
            true => Ok(topic),
            false => Err(old()),
        }
    }

    async fn confirm(&self, topic: &Topic, signed: &Signed) -> Result<(), Stranger> {
        let token = signed.token.as_deref().unwrap_or_default();
        let written = signed.subscribe_url.as_deref().unwrap_or_default();
        let place = self.topics.confirmation(topic, token, written);
        let place = place.ok_or(Stranger::Place("SubscribeURL"))?;
        self.certificates
            .fetch(&place)
            .await
            .map_err(Stranger::Unconfirmed)?;
        tracing::info!(topic = topic.arn(), "the subscription is confirmed");
        Ok(())
    }
}

impl From<Signed> for Envelope {
    fn from(signed: Signed) -> Self {
        Self {
            ty: signed.ty,
            message_id: signed.message_id,
            topic_arn: signed.topic_arn,
            subject: signed.subject,
            message: signed.message,
            timestamp: signed.timestamp,
        }
    }
}
