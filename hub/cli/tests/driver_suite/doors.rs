//! The worlds of the drivers that listen: senders who repeat until they hear yes, each in its provider's own way.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use dispatch_driver_suite::{Answer, DriverHub, Program, Senders, Upstream, World};
use reqwest::{Client, StatusCode};
use ring::hmac::{HMAC_SHA256, Key, sign};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::worlds::program;

/// How long a sender waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);
const SECRET: &str = "It is a secret to everybody";

/// A request to a door.
#[derive(Clone)]
pub(crate) struct Delivery {
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

/// A driver that listens, and how its provider makes a delivery of an event and its number.
pub(crate) struct Door {
    program: Program,
    deliver: Box<dyn Fn(&Value) -> Delivery + Send + Sync>,
    event: fn(usize) -> Value,
    /// Whether it keeps a body that is no JSON, as an event like any other: its provider would drop what is refused.
    keeps_all: bool,
    senders: Senders,
    client: Client,
    sent: usize,
}

/// Any sender that signs with an HMAC.
pub(crate) fn webhook() -> Result<Door> {
    let args = ["--provider=generic".to_owned()];
    let program = program("webhook", &args, &[("SECRET", SECRET)])?;
    let deliver = |event: &Value| {
        let body = event.to_string();
        let tag = sign(&Key::new(HMAC_SHA256, SECRET.as_bytes()), body.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let headers = vec![
            ("content-type", "application/json".to_owned()),
            ("x-signature-256", format!("sha256={hex}")),
        ];
        let path = "/";
        Delivery { path, headers, body }
    };
    Door::new(program, deliver, |number| json!({"number": number}))
}

/// Event Grid, in its own schema.
pub(crate) fn event_grid() -> Result<Door> {
    let program = program("eventgrid", &[], &[("SHARED_SECRET", "s3cret")])?;
    let deliver = |event: &Value| Delivery {
        path: "/?secret=s3cret",
        headers: vec![
            ("content-type", "application/json; charset=utf-8".to_owned()),
            ("aeg-event-type", "Notification".to_owned()),
        ],
        body: json!([event]).to_string(),
    };
    let door = Door::new(program, deliver, |number| {
        json!({"id": number.to_string(), "topic": "/subscriptions/1/t", "subject": "/blobs/a", "data": {},
            "eventType": "Microsoft.Storage.BlobCreated", "eventTime": "2026-01-02T03:04:05Z", "dataVersion": "2"})
    })?;
    Ok(door.keeping_all())
}

/// EventBridge, posting to an API destination.
pub(crate) fn api_destination() -> Result<Door> {
    const KEY: &str = "a-key-of-the-connection";
    let program = program("aws", &[], &[("API_KEY", KEY)])?;
    let deliver = |event: &Value| Delivery {
        path: "/",
        headers: vec![
            ("content-type", "application/json; charset=utf-8".to_owned()),
            ("x-api-key", KEY.to_owned()),
        ],
        body: event.to_string(),
    };
    let door = Door::new(program, deliver, |number| {
        json!({"version": "0", "id": number.to_string(), "detail-type": "Order Placed", "source": "my.shop", "account": "1",
            "time": "2026-01-02T03:04:05Z", "region": "eu-west-1", "resources": [], "detail": {}})
    })?;
    Ok(door.keeping_all())
}

impl Door {
    pub(crate) fn new(
        program: Program,
        deliver: impl Fn(&Value) -> Delivery + Send + Sync + 'static,
        event: fn(usize) -> Value,
    ) -> Result<Self> {
        Ok(Self {
            program,
            deliver: Box::new(deliver),
            event,
            keeps_all: false,
            senders: Senders::default(),
            client: dispatch_fixtures::hub::client()?,
            sent: 0,
        })
    }

    fn keeping_all(self) -> Self {
        Self {
            keeps_all: true,
            ..self
        }
    }

    /// What the door says to a delivery that it must not take.
    pub(crate) async fn hears(&self, what: &str, delivery: &Delivery) -> Result<()> {
        let status = self.said(delivery).await?;
        ensure!(!status.is_success(), "it said {status} to {what}");
        Ok(())
    }

    /// What the door says to one delivery, which is not repeated.
    pub(crate) async fn said(&self, delivery: &Delivery) -> Result<StatusCode> {
        let place = self.senders.place().context("the driver listens nowhere")?;
        Ok(post(&self.client, &place, delivery).await?.0)
    }
}

impl World for Door {
    fn program(&self) -> Program {
        self.program.clone()
    }

    async fn started(&mut self, hub: &DriverHub) -> Result<()> {
        self.senders.find(hub).await
    }

    async fn happen(&mut self, count: usize, _hub: &DriverHub) -> Result<bool> {
        for _ in 0..count {
            self.sent += 1;
            let delivery = (self.deliver)(&(self.event)(self.sent));
            let client = self.client.clone();
            self.senders.send(move |place| {
                let (client, delivery) = (client.clone(), delivery.clone());
                async move { answer(&client, &place, &delivery).await }
            });
        }
        Ok(true)
    }

    /// Without its proof, with a body that is no JSON, and one that breaks off.
    async fn malformed(&mut self, _hub: &DriverHub) -> Result<bool> {
        let good = (self.deliver)(&(self.event)(0));
        let mut unproven = good.clone();
        unproven.path = "/";
        unproven.headers.truncate(1);
        self.hears("a delivery without its proof", &unproven).await?;
        if !self.keeps_all {
            let mut broken = (self.deliver)(&json!("{"));
            broken.body.pop();
            self.hears("a body that is no JSON", &broken).await?;
        }

        let place = self.senders.place().context("the driver listens nowhere")?;
        let mut stream = TcpStream::connect(place).await?;
        stream
            .write_all(b"POST / HTTP/1.1\r\nhost: d\r\ncontent-length: 99\r\n\r\n{")
            .await?;
        Ok(true)
    }

    async fn upstream(&mut self) -> Result<Option<Upstream>> {
        Ok(Some(self.senders.upstream()))
    }
}

/// 2xx ends a delivery, 503 with `Retry-After` is understood by everybody; the rest makes some sender give up.
async fn answer(client: &Client, place: &str, delivery: &Delivery) -> Answer {
    match post(client, place, delivery).await {
        Err(error) if error.is_timeout() => Answer::Wrong(format!("nothing within {} s", ANSWER.as_secs())),
        Err(_) => Answer::Nobody,
        Ok((status, _)) if status.is_success() => Answer::Taken,
        Ok((StatusCode::SERVICE_UNAVAILABLE, true)) => Answer::Later,
        Ok((status, true)) => Answer::Wrong(status.to_string()),
        Ok((status, false)) => Answer::Wrong(format!("{status} without Retry-After")),
    }
}

/// The status, and whether the answer says when to come again.
async fn post(client: &Client, place: &str, delivery: &Delivery) -> reqwest::Result<(StatusCode, bool)> {
    let url = format!("http://{place}{}", delivery.path);
    let mut request = client.post(url).timeout(ANSWER).body(delivery.body.clone());
    for (name, value) in &delivery.headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await?;
    Ok((answer.status(), answer.headers().contains_key("retry-after")))
}
