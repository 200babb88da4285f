//! The world of a subscription by HTTPS: an SNS that has it confirmed, signs what is published, and repeats it until it
//! hears yes.

use std::sync::Arc;

use anyhow::{Result, ensure};
use chrono::{SecondsFormat, Utc};
use dispatch_driver_suite::{DriverHub, Program, Upstream, World};
use dispatch_fixtures::sns::Sns;
use serde_json::{Value, json};

use crate::doors::{Delivery, Door};
use crate::worlds::program;

/// The topic, and the driver as its subscriber.
pub(crate) struct Topic {
    door: Door,
    sns: Arc<Sns>,
    is_subscribed: bool,
}

impl Topic {
    pub(crate) async fn new() -> Result<Self> {
        let sns = Arc::new(Sns::start().await?);
        let args = [
            format!("--endpoint-url={}", sns.url()),
            format!("--sns-topics={}", Sns::TOPIC),
        ];
        let publisher = sns.clone();
        // Half of it is signed in either way, as by topics of both settings.
        let deliver = move |event: &Value| {
            let number = event["number"].as_u64().unwrap_or_default();
            let version = if number.is_multiple_of(2) { 2 } else { 1 };
            let said = notification(&publisher, &number.to_string(), &event.to_string());
            delivery(&publisher.signed(version, said).unwrap())
        };
        Ok(Self {
            door: Door::new(
                program("aws", &args, &[])?,
                deliver,
                |number| json!({"number": number}),
            )?,
            sns,
            is_subscribed: false,
        })
    }
}

fn notification(sns: &Sns, id: &str, message: &str) -> Value {
    sns.request("Notification", id, message, &now())
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn delivery(said: &Value) -> Delivery {
    Delivery {
        path: "/",
        headers: Sns::headers(said).to_vec(),
        body: said.to_string(),
    }
}

impl World for Topic {
    fn program(&self) -> Program {
        self.door.program()
    }

    /// The first time it subscribes: nothing is published to one who has not confirmed.
    async fn started(&mut self, hub: &DriverHub) -> Result<()> {
        self.door.started(hub).await?;
        if !self.is_subscribed {
            let asked = self
                .sns
                .request("SubscriptionConfirmation", "ask", "do you want it?", &now());
            let status = self.door.said(&delivery(&self.sns.signed(2, asked)?)).await?;
            ensure!(status.is_success(), "it said {status} to the confirmation");
            let confirmed = self.sns.confirmed();
            ensure!(confirmed == ["token-ask"], "it confirmed {confirmed:?}");
            self.is_subscribed = true;
        }
        Ok(())
    }

    async fn happen(&mut self, count: usize, hub: &DriverHub) -> Result<bool> {
        self.door.happen(count, hub).await
    }

    /// What any door may hear, and what somebody else signed, or changed.
    async fn malformed(&mut self, hub: &DriverHub) -> Result<bool> {
        let said = notification(&self.sns, "evil", "{}");
        let forged = self.sns.forged(2, said.clone())?;
        self.door.hears("another's signature", &delivery(&forged)).await?;
        let mut changed = self.sns.signed(2, said)?;
        changed["Message"] = "other words".into();
        self.door
            .hears("a message that was changed", &delivery(&changed))
            .await?;
        self.door.malformed(hub).await
    }

    async fn upstream(&mut self) -> Result<Option<Upstream>> {
        self.door.upstream().await
    }
}
