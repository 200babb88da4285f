//! SNS over HTTPS: who is believed, what becomes of it, and what SNS hears.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use axum::http::StatusCode;
use dispatch_fixtures::aws::{Aws, Emulator};
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::{Process, until};
use dispatch_fixtures::rsa::RsaKey;
use dispatch_fixtures::sns::{Sns, Validator};
use serde_json::Value;

use crate::{PATIENCE, start_at, taken};

/// How often the emulator is asked for what it tries once.
const REQUESTS: usize = 4;
const SECRET: &str = "a-long-s3cret-for-sns";

struct Running {
    hub: DriverHub,
    sns: Sns,
    url: String,
    driver: Process,
}

async fn start(settings: &[&str]) -> Result<Running> {
    let (hub, sns) = (DriverHub::start().await?, Sns::start().await?);
    let topics = format!("--sns-topics={}", Sns::TOPIC);
    let driver = start_at(&sns.url(), &hub, &[&[&*topics], settings].concat())?;
    hub.until("it says where it listens", PATIENCE, |hub| {
        hub.health().last().is_some_and(|h| h["listen"].is_string())
    })
    .await?;
    let health = hub.health();
    let listen = health.last().and_then(|h| h["listen"].as_str());
    let url = format!("http://{}/", listen.context("it listens")?);
    Ok(Running {
        hub,
        sns,
        url,
        driver,
    })
}

impl Running {
    /// Sends what must be taken.
    async fn taken(&self, said: &Value) -> Result<u16> {
        taken(&self.driver, async || self.sns.send(&self.url, said).await).await
    }
}

/// So many hours ago, as SNS writes it.
fn hours_ago(hours: i64) -> String {
    let at = chrono::Utc::now() - chrono::TimeDelta::hours(hours);
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

#[tokio::test]
async fn only_what_sns_signed_is_believed_and_an_independent_validator_agrees() -> Result<()> {
    // Given requests of SNS, some of them changed by somebody
    let run = start(&[]).await?;
    let (sns, now) = (&run.sns, hours_ago(0));
    let notification = |id: &str| sns.request("Notification", id, "hello\nworld", &now);
    let with = |mut said: Value, name: &str, value: &str| {
        said[name] = value.into();
        said
    };
    let signed = |version, said| sns.signed(version, said);
    let table = [
        ("version 1", signed(1, notification("1"))?, true),
        ("version 2", signed(2, notification("2"))?, true),
        (
            "a subject",
            signed(1, with(notification("3"), "Subject", "ü"))?,
            true,
        ),
        (
            "an empty subject",
            signed(2, with(notification("4"), "Subject", ""))?,
            true,
        ),
        (
            "no subject",
            signed(2, with_null(notification("5"), "Subject"))?,
            true,
        ),
        (
            "another message",
            with(signed(1, notification("6"))?, "Message", "goodbye"),
            false,
        ),
        (
            "another id",
            with(signed(2, notification("7"))?, "MessageId", "8"),
            false,
        ),
        (
            "a subject added",
            with(signed(1, notification("9"))?, "Subject", "s"),
            false,
        ),
        (
            "another time",
            with(signed(1, notification("10"))?, "Timestamp", &hours_ago(1)),
            false,
        ),
        ("another's signature", sns.forged(1, notification("11"))?, false),
        (
            "another's signature, version 2",
            sns.forged(2, notification("12"))?,
            false,
        ),
        (
            "version 2 said to be 1",
            with(signed(2, notification("13"))?, "SignatureVersion", "1"),
            false,
        ),
        (
            "version 3",
            with(signed(2, notification("14"))?, "SignatureVersion", "3"),
            false,
        ),
        (
            "no base64",
            with(signed(1, notification("15"))?, "Signature", "FAKE"),
            false,
        ),
    ];
    let certificate = RsaKey::first()?.certificate("sns.amazonaws.com")?;
    let validator = Validator::new()?;

    // When they come
    for (what, said, is_good) in &table {
        let status = match *is_good {
            true => run.taken(said).await?,
            false => sns.send(&run.url, said).await?,
        };
        let words = run.driver.stderr();
        assert_eq!(status, if *is_good { 200 } else { 503 }, "{what}: {words}");
        if let Some(validator) = &validator {
            assert_eq!(
                validator.believes(said, &certificate)?,
                *is_good,
                "sns-validator about {what}"
            );
        }
    }

    // Then the hub has what SNS signed, and the certificate was read once
    let ids: BTreeSet<String> = run.hub.events().iter().map(|e| e.id().to_owned()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5"].map(str::to_owned).into());
    let event = &run.hub.events()[2];
    assert_eq!(
        (event.ty(), event.source(), event.subject()),
        ("com.amazonaws.sns.Notification", Sns::TOPIC, Some("ü"))
    );
    assert_eq!(event.data_bytes().as_deref(), Some(b"hello\nworld".as_slice()));
    assert_eq!(sns.reads(), 1);
    println!(
        "{} requests, {} believed; sns-validator asked: {}",
        table.len(),
        ids.len(),
        validator.is_some()
    );
    Ok(())
}

fn with_null(mut said: Value, name: &str) -> Value {
    said[name] = Value::Null;
    said
}

#[tokio::test]
async fn nothing_is_fetched_but_from_the_topics_sns_and_nobody_elses_topic_may_send() -> Result<()> {
    let run = start(&[]).await?;
    let now = hours_ago(0);
    let signed = |ty: &str, id: &str| run.sns.signed(1, run.sns.request(ty, id, "m", &now));
    let stranger = Sns::start().await?;
    let mut wrong = Vec::new();
    // Its own certificate, and everything right by it.
    wrong.push(stranger.signed(1, stranger.request("Notification", "1", "m", &now))?);
    wrong.push(stranger.signed(1, stranger.request("SubscriptionConfirmation", "2", "m", &now))?);
    for place in [
        "/x.pem",
        "/SimpleNotificationService-x.pem?x=y",
        "/a/SimpleNotificationService-x.pem",
    ] {
        let mut said = signed("Notification", "3")?;
        said["SigningCertURL"] = format!("{}{place}", run.sns.url()).into();
        wrong.push(said);
    }
    let mut other = run.sns.request("SubscriptionConfirmation", "4", "m", &now);
    other["SubscribeURL"] = format!("{}/?Action=ConfirmSubscription&Token=token-4", stranger.url()).into();
    wrong.push(run.sns.signed(1, other)?);
    let mut other = run.sns.request("Notification", "5", "m", &now);
    other["TopicArn"] = format!("{}-theirs", Sns::TOPIC).into();
    wrong.push(run.sns.signed(1, other)?);
    wrong.push(
        run.sns
            .signed(1, run.sns.request("Notification", "6", "m", &hours_ago(25)))?,
    );
    wrong.push(
        run.sns
            .signed(1, run.sns.request("Notification", "7", "m", &hours_ago(-1)))?,
    );
    wrong.push(run.sns.signed(1, run.sns.request("Nonsense", "8", "m", &now))?);
    wrong.push(serde_json::json!({"Type": "Notification"}));

    for said in &wrong {
        assert_eq!(run.sns.send(&run.url, said).await?, 503, "{said}");
    }

    assert_eq!(
        (stranger.reads(), stranger.confirmed().len()),
        (0, 0),
        "{}",
        run.driver.stderr()
    );
    assert_eq!((run.hub.count(), run.sns.confirmed().len()), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_subscription_is_confirmed_and_its_end_is_an_event() -> Result<()> {
    let run = start(&[]).await?;
    let now = hours_ago(0);
    let signed = |ty: &str, id: &str| {
        run.sns
            .signed(2, run.sns.request(ty, id, "You have chosen ...", &now))
    };

    assert_eq!(
        run.sns
            .send(&run.url, &signed("SubscriptionConfirmation", "1")?)
            .await?,
        200
    );
    assert_eq!(run.sns.confirmed(), ["token-1"]);
    assert_eq!(run.hub.count(), 0);

    assert_eq!(run.taken(&signed("UnsubscribeConfirmation", "2")?).await?, 200);
    let event = &run.hub.events()[0];
    assert_eq!(event.ty(), "com.amazonaws.sns.UnsubscribeConfirmation");
    assert_eq!(
        event.data_bytes().as_deref(),
        Some(b"You have chosen ...".as_slice()),
        "and no token"
    );
    assert_eq!(run.sns.confirmed(), ["token-1"], "it is not subscribed again");
    Ok(())
}

#[tokio::test]
async fn sns_hears_yes_only_when_the_hub_has_it_and_a_replay_is_one_event() -> Result<()> {
    let run = start(&[]).await?;
    let now = hours_ago(0);
    let said = run
        .sns
        .signed(1, run.sns.request("Notification", "1", r#"{"n":1}"#, &now))?;

    for refusal in [503, 413, 401] {
        run.hub.refuse(Some(StatusCode::from_u16(refusal)?));
        assert_eq!(run.sns.send(&run.url, &said).await?, 503, "{refusal}");
    }
    run.hub.refuse(None);
    for _ in 0..5 {
        assert_eq!(run.taken(&said).await?, 200);
    }

    assert_eq!(run.hub.count(), 1, "one event, however often it is replayed");
    // A certificate that cannot be had now may be had later.
    let other = run
        .sns
        .signed(1, run.sns.request("Notification", "2", "m", &now))?;
    let again = start(&[]).await?;
    again.sns.certify("no certificate");
    let mut moved = other.clone();
    moved["SigningCertURL"] = format!("{}/SimpleNotificationService-first.pem", again.sns.url()).into();
    assert_eq!(again.sns.send(&again.url, &moved).await?, 503);
    again
        .sns
        .certify(&RsaKey::first()?.certificate("sns.amazonaws.com")?);
    assert_eq!(again.taken(&moved).await?, 200);
    Ok(())
}

#[tokio::test]
async fn a_raw_notification_needs_the_secret() -> Result<()> {
    let secret = format!("--sns-secret={SECRET}");
    let (open, guarded) = (start(&[]).await?, start(&[&secret]).await?);
    let client = dispatch_fixtures::hub::client()?;
    let raw = async |url: String, topic: &str| -> Result<u16> {
        let request = client
            .post(url)
            .header("content-type", "text/plain; charset=UTF-8")
            .header("x-amz-sns-message-type", "Notification")
            .header("x-amz-sns-message-id", "raw-1")
            .header("x-amz-sns-topic-arn", topic)
            .header("x-amz-sns-rawdelivery", "true");
        Ok(request.body("just text").send().await?.status().as_u16())
    };
    let right = format!("{}?secret={SECRET}", guarded.url);

    assert_eq!(
        raw(open.url.clone(), Sns::TOPIC).await?,
        503,
        "nobody can say whose it is"
    );
    assert_eq!(raw(guarded.url.clone(), Sns::TOPIC).await?, 503);
    assert_eq!(
        raw(format!("{}?secret=a-long-s3cret-for-sn", guarded.url), Sns::TOPIC).await?,
        503
    );
    assert_eq!(raw(right.clone(), "arn:aws:sns:us-east-1:0:theirs").await?, 503);
    for _ in 0..2 {
        let send = async || raw(right.clone(), Sns::TOPIC).await;
        assert_eq!(taken(&guarded.driver, send).await?, 200);
    }

    assert_eq!((open.hub.count(), guarded.hub.count()), (0, 1));
    let event = &guarded.hub.events()[0];
    assert_eq!((event.id(), event.source()), ("raw-1", Sns::TOPIC));
    assert_eq!(event.data_bytes().as_deref(), Some(b"just text".as_slice()));
    // A signed one needs it too.
    let now = hours_ago(0);
    let said = guarded
        .sns
        .signed(1, guarded.sns.request("Notification", "2", "m", &now))?;
    assert_eq!(guarded.sns.send(&guarded.url, &said).await?, 503);
    let send = async || guarded.sns.send(&right, &said).await;
    assert_eq!(taken(&guarded.driver, send).await?, 200);
    assert!(
        !guarded.driver.stderr().contains(SECRET),
        "{}",
        guarded.driver.stderr()
    );
    Ok(())
}

/// Subscribes until the driver has confirmed: the emulator asks it once, and on a busy machine it gives up before. The same
/// endpoint again is no new subscription, so each has a query of its own.
async fn subscribe(aws: &Aws, sns: &Sns, endpoint: &str) -> Result<()> {
    let topic = ("TopicArn", Sns::TOPIC);
    let is_confirmed = async || -> Result<bool> {
        let about = aws.sns("GetTopicAttributes", &[topic]).await?;
        let is_none = about.contains("<key>SubscriptionsConfirmed</key><value>0</value>");
        Ok(!sns.confirmed().is_empty() && !is_none)
    };
    for n in 0..REQUESTS {
        let endpoint = format!("{endpoint}?{n}");
        let said = [topic, ("Protocol", "http"), ("Endpoint", &endpoint)];
        aws.sns("Subscribe", &said).await?;
        if until("it is confirmed", PATIENCE / 4, is_confirmed).await.is_ok() {
            return Ok(());
        }
    }
    bail!("none of {REQUESTS} subscriptions was confirmed")
}

/// Publishes until the emulator has sent it: it tries once, and on a busy machine it gives up before.
async fn publish(aws: &Aws, sns: &Sns, said: &[(&str, &str)]) -> Result<()> {
    let message = said.iter().find(|(name, _)| *name == "Message");
    let message = message.context("a message")?.1;
    let is_sent = async || Ok(sns.relayed().iter().any(|sent| sent == message));
    for _ in 0..REQUESTS {
        aws.sns("Publish", said).await?;
        if until("the emulator sends it", PATIENCE / 4, is_sent)
            .await
            .is_ok()
        {
            return Ok(());
        }
    }
    bail!("the emulator sent nothing of {REQUESTS} publications of {message}")
}

#[tokio::test]
async fn what_an_emulator_of_sns_sends_arrives_after_its_subscription_was_confirmed() -> Result<()> {
    // Given a topic of ministack, whose signatures are none: they are made on the way
    let Some(aws) = Aws::start(Emulator::Ministack).await? else {
        return Ok(());
    };
    let run = start(&[]).await?;
    let endpoint = run.sns.stand_before(&aws.url(), &run.url);
    aws.sns("CreateTopic", &[("Name", "orders")]).await?;
    let topic = ("TopicArn", Sns::TOPIC);

    // When the driver subscribes by confirming, and something is published
    subscribe(&aws, &run.sns, &endpoint).await?;
    let ruled = r#"{"id":"e1","detail-type":"Order Placed","source":"my.shop","detail":{"n":1}}"#;
    publish(
        &aws,
        &run.sns,
        &[topic, ("Message", "hello"), ("Subject", "greeting")],
    )
    .await?;
    publish(&aws, &run.sns, &[topic, ("Message", ruled)]).await?;

    // Then it arrives, once however often it was sent, and an event in it is that event
    let subscriptions: BTreeSet<String> = run.sns.confirmed().into_iter().collect();
    let sent = run.sns.relayed();
    // Each publication is sent to each subscription once at most.
    let greetings = sent.iter().filter(|message| *message == "hello").count();
    let greetings = greetings.div_ceil(subscriptions.len());
    let all = |hub: &DriverHub| {
        let events = hub.events();
        events.len() > greetings && events.iter().any(|event| event.id() == "e1")
    };
    run.hub
        .until("all arrive", PATIENCE, all)
        .await
        .with_context(|| format!("{sent:?} were sent: {}", run.driver.stderr()))?;
    let types: BTreeSet<String> = run.hub.events().iter().map(|e| e.ty().to_owned()).collect();
    let expected = ["com.amazonaws.sns.Notification", "my.shop.order-placed"];
    assert_eq!(types, expected.map(str::to_owned).into());
    Ok(())
}
