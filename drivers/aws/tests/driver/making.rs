//! A queue and its rules, made and kept as the settings say.

use anyhow::Result;
use dispatch_fixtures::aws::Aws;
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::until;
use serde_json::{Value, json};

use crate::{BOTH, PATIENCE, start};

async fn rules(aws: &Aws) -> Result<Vec<Value>> {
    let listed = aws.ask("AWSEvents.ListRules", &json!({})).await?;
    Ok(listed["Rules"].as_array().cloned().unwrap_or_default())
}

#[tokio::test]
async fn an_event_that_matches_a_pattern_arrives_and_another_does_not() -> Result<()> {
    for emulator in BOTH {
        // Given a driver that made its queue and a rule
        let Some(aws) = Aws::start(emulator).await? else {
            continue;
        };
        let hub = DriverHub::start().await?;
        let settings = [
            r#"--event-patterns=[{"source":["my.shop"]}]"#,
            "--queue-name=shop",
        ];
        let _driver = start(&aws, &hub, &settings)?;
        hub.until("the driver is ready", PATIENCE, |hub| {
            hub.health().last().is_some_and(|h| h["status"] == "READY")
        })
        .await?;

        // When two things happen, one of them wanted
        let entry = |source: &str| {
            let detail = json!({"order": 7}).to_string();
            json!({"Source": source, "DetailType": "Order Placed", "Detail": detail})
        };
        let entries = json!({"Entries": [entry("their.shop"), entry("my.shop")]});
        let put = aws.ask("AWSEvents.PutEvents", &entries).await?;

        // Then it arrives under the id that EventBridge gave it
        hub.until("it arrives", PATIENCE, |hub| hub.count() > 0).await?;
        let events = hub.events();
        assert_eq!(events.len(), 1, "{emulator:?}: {events:?}");
        assert_eq!(events[0].ty(), "my.shop.order-placed");
        let data = events[0].data_bytes().unwrap_or_default();
        assert_eq!(serde_json::from_slice::<Value>(&data)?, json!({"order": 7}));
        assert_eq!(
            Some(events[0].id()),
            put["Entries"][1]["EventId"].as_str(),
            "{emulator:?}"
        );
        let queue = aws.queue_url("shop").await?;
        let policy = aws.attributes(&queue).await?["Policy"].clone();
        let policy: Value = serde_json::from_str(policy.as_str().unwrap_or_default())?;
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Principal"]["Service"], "events.amazonaws.com");
        assert_eq!(
            statement["Condition"]["ArnEquals"]["aws:SourceArn"][0],
            rules(&aws).await?[0]["Arn"]
        );
    }
    Ok(())
}

#[tokio::test]
async fn another_start_makes_nothing_twice_and_takes_away_what_is_no_longer_wanted() -> Result<()> {
    for emulator in BOTH {
        let Some(aws) = Aws::start(emulator).await? else {
            continue;
        };
        // Given two rules of the driver, and one of somebody else with a name like theirs
        let theirs = json!({"Name": "dispatch-theirs", "EventPattern": r#"{"source":["x"]}"#});
        aws.ask("AWSEvents.PutRule", &theirs).await?;
        let patterns = r#"--event-patterns=[{"source":["aws.ec2"]},{"source":["aws.s3"]}]"#;
        let every = "--schedule-expression=rate(5 minutes)";
        for (settings, expected) in [
            (&[patterns, every][..], 4),
            (&[patterns, every], 4),
            (&[every], 2),
        ] {
            // When it starts, with the same settings or with fewer
            let hub = DriverHub::start().await?;
            let mut driver = start(&aws, &hub, settings)?;
            hub.until("the driver is ready", PATIENCE, |hub| !hub.health().is_empty())
                .await?;

            // Then there are the rules it wants, and the other's
            let names: Vec<Value> = rules(&aws).await?.iter().map(|r| r["Name"].clone()).collect();
            assert_eq!(names.len(), expected, "{emulator:?}: {names:?}");
            assert!(names.contains(&json!("dispatch-theirs")));
            assert!(driver.terminate(PATIENCE).await?.success());
        }
        until("the queue is there", PATIENCE, async || {
            Ok(aws.queue_url("dispatch").await.is_ok())
        })
        .await?;
    }
    Ok(())
}
