//! A message reaches the hub, and leaves the queue only then.

use anyhow::Result;
use axum::http::StatusCode;
use dispatch_fixtures::aws::{Aws, Emulator};
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::until;
use serde_json::json;

use crate::{BOTH, PATIENCE, start};

fn bodies(count: usize) -> Vec<String> {
    let body =
        |n| json!({"id": format!("e{n}"), "detail-type": "Made", "source": "my.shop", "detail": {"n": n}});
    (0..count).map(|n| body(n).to_string()).collect()
}

#[tokio::test]
async fn a_message_is_deleted_only_after_the_hub_has_it_and_nobody_else_sees_it_until_then() -> Result<()> {
    for emulator in BOTH {
        // Given a queue that gives a message up when it is received a second time, and a hub that is full
        let Some(aws) = Aws::start(emulator).await? else {
            continue;
        };
        let hub = DriverHub::start().await?;
        let (queue, dead) = aws.make_queue_with_dead_letters("orders", 1).await?;
        aws.send_messages(&queue, &bodies(10)).await?;
        hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));

        // When the driver holds the messages for three times as long as they are kept from others
        let began = std::time::Instant::now();
        let _driver = start(
            &aws,
            &hub,
            &[&format!("--queue-url={queue}"), "--visibility-timeout=2s"],
        )?;
        until(
            "six seconds have passed and the hub was asked",
            PATIENCE,
            async || Ok(began.elapsed().as_secs() >= 6 && hub.refused() > 0),
        )
        .await?;
        assert_eq!(aws.depth(&queue).await?, 10, "{emulator:?}: nothing is deleted");
        hub.refuse(None);

        // Then the hub gets each once, the queue is empty, and nothing was given up
        hub.until("all arrived", PATIENCE, |hub| hub.count() == 10)
            .await?;
        until("the queue is empty", PATIENCE, async || {
            Ok(aws.depth(&queue).await? == 0)
        })
        .await?;
        assert_eq!(hub.arrived().len(), 10, "{emulator:?}: nothing twice");
        assert_eq!(aws.depth(&dead).await?, 0, "{emulator:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_malformed_message_blocks_nobody_and_is_an_event_too() -> Result<()> {
    for emulator in BOTH {
        let Some(aws) = Aws::start(emulator).await? else {
            continue;
        };
        let hub = DriverHub::start().await?;
        let queue = aws.make_queue("orders", json!({})).await?;
        let mut all = bodies(3);
        all.extend([
            "{".to_owned(),
            "[1]".to_owned(),
            r#"{"Records":[{"eventSource":"aws:s3"}]}"#.to_owned(),
        ]);
        all.extend(bodies(5).split_off(3));

        let ids = aws.send_messages(&queue, &all).await?;
        let _driver = start(&aws, &hub, &[&format!("--queue-url={queue}")])?;

        hub.until("all arrived", PATIENCE, |hub| hub.count() == 8).await?;
        let wrapped: Vec<_> = hub
            .events()
            .into_iter()
            .filter(|e| e.ty() == "com.amazonaws.sqs.message")
            .collect();
        assert_eq!(wrapped.len(), 3, "{emulator:?}");
        assert!(wrapped.iter().all(|e| ids.iter().any(|id| id == e.id())));
        until("the queue is empty", PATIENCE, async || {
            Ok(aws.depth(&queue).await? == 0)
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_the_hub_never_takes_stays_for_the_queues_redrive_policy() -> Result<()> {
    let Some(aws) = Aws::start(Emulator::Ministack).await? else {
        return Ok(());
    };
    let hub = DriverHub::start().await?;
    let (queue, dead) = aws.make_queue_with_dead_letters("orders", 1).await?;
    hub.refuse(Some(StatusCode::PAYLOAD_TOO_LARGE));
    aws.send_messages(&queue, &bodies(2)).await?;

    let _driver = start(
        &aws,
        &hub,
        &[&format!("--queue-url={queue}"), "--visibility-timeout=2s"],
    )?;

    until("both are among the queue's dead letters", PATIENCE, async || {
        Ok(aws.depth(&dead).await? == 2)
    })
    .await?;
    hub.refuse(None);
    aws.send_messages(&queue, &bodies(3)[2..]).await?;
    hub.until("the next one arrives", PATIENCE, |hub| hub.count() == 1)
        .await
}

#[tokio::test]
async fn s3_and_sns_notifications_arrive_through_the_queue_raw_or_not() -> Result<()> {
    // Given a bucket and two topics that tell a queue
    let Some(aws) = Aws::start(Emulator::Ministack).await? else {
        return Ok(());
    };
    let hub = DriverHub::start().await?;
    let queue = aws.make_queue("notes", json!({})).await?;
    let arn = aws.arn(&queue).await?;
    aws.s3_put("pictures", "").await?;
    let wanted = format!(
        "<NotificationConfiguration><QueueConfiguration><Queue>{arn}</Queue><Event>s3:ObjectCreated:*</Event>\
         </QueueConfiguration></NotificationConfiguration>"
    );
    aws.s3_put("pictures?notification", &wanted).await?;
    for (topic, raw) in [("wrapped", "false"), ("raw", "true")] {
        aws.sns("CreateTopic", &[("Name", topic)]).await?;
        let topic = format!("arn:aws:sns:us-east-1:000000000000:{topic}");
        let subscribed = [
            ("TopicArn", topic.as_str()),
            ("Protocol", "sqs"),
            ("Endpoint", &arn),
            ("Attributes.entry.1.key", "RawMessageDelivery"),
            ("Attributes.entry.1.value", raw),
        ];
        aws.sns("Subscribe", &subscribed).await?;
        aws.sns(
            "Publish",
            &[
                ("TopicArn", &topic),
                ("Message", "hello"),
                ("Subject", "greeting"),
            ],
        )
        .await?;
    }
    aws.s3_put("pictures/red%20flower.txt", "petals").await?;

    // When the driver reads it
    let _driver = start(&aws, &hub, &[&format!("--queue-url={queue}")])?;

    // Then each is what it is: S3's test message is nothing, a raw notification only its text
    hub.until("all arrived", PATIENCE, |hub| hub.count() == 3).await?;
    let events = hub.events();
    let one = |ty: &str| {
        events
            .iter()
            .find(|event| event.ty() == ty)
            .unwrap_or_else(|| panic!("{ty}: {events:?}"))
    };
    assert_eq!(
        one("com.amazonaws.s3.ObjectCreated:Put").subject(),
        Some("red flower.txt")
    );
    let wrapped = one("com.amazonaws.sns.Notification");
    assert_eq!(
        (
            wrapped.source(),
            wrapped.subject(),
            wrapped.data_bytes().as_deref()
        ),
        (
            "arn:aws:sns:us-east-1:000000000000:wrapped",
            Some("greeting"),
            Some(b"hello".as_slice())
        )
    );
    assert_eq!(
        one("com.amazonaws.sqs.message").data_bytes().as_deref(),
        Some(b"hello".as_slice())
    );
    until("the queue is empty", PATIENCE, async || {
        Ok(aws.depth(&queue).await? == 0)
    })
    .await
}
