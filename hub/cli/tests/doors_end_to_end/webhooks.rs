//! Web hooks of every provider, signed by the providers' own libraries.

use anyhow::{Result, ensure};
use dispatch_contract::Event;
use dispatch_fixtures::process::until;
use dispatch_fixtures::signers::Signers;
use dispatch_fixtures::webhooks::{SENDERS, Sender, headers, truncated};
use futures_util::FutureExt as _;
use futures_util::future::LocalBoxFuture;
use serde_json::json;

use crate::stage::{Listening, PATIENCE, Stage, now};

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const FOREIGN: &str = "whsec_AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH";
/// For what a provider's proof does not cover.
const NONE: u16 = 0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_provider_s_web_hook_arrives_at_a_sink_and_nothing_else_does() -> Result<()> {
    let Some(signers) = Signers::new()? else {
        return Ok(());
    };
    let stage = Stage::start().await?;
    println!(
        "{:18} good | replayed | tampered | truncated | expired | future | unsigned | foreign | old | type | 5 GB | old, \
         rotated | new, rotated",
        ""
    );
    let mut ids = Vec::new();
    for sender in SENDERS {
        // Given a door with one secret, and soon with two
        let settings = [format!("provider={}", sender.provider)];
        let driver = stage
            .listen(
                "webhook",
                sender.provider,
                &json!({"secret": OLD}),
                &[&settings[0]],
            )
            .await?;
        let post = async |secret: &str, seconds: i64, body: &str| -> Result<u16> {
            let headers = headers(&signers, sender, secret, seconds)?;
            stage.post(&driver, "", &headers, body).await
        };
        ensure!(
            post(NEW, now(), sender.body).await? == 401,
            "the new one counts before its time"
        );
        stage.rotate(&driver, &json!({"secret": format!("{NEW},{OLD}")}))?;
        until("the new secret counts", PATIENCE, async || {
            Ok(post(NEW, now(), sender.body).await? == 202)
        })
        .await?;

        // When everything that can come does
        let good = headers(&signers, sender, NEW, now())?;
        let mut other_type = good.clone();
        other_type.pop();
        other_type.push(("content-type", "application/x-tar".to_owned()));
        // What a provider does not sign can be changed, and is another event.
        let only = async |applies: bool, asked: LocalBoxFuture<'_, Result<u16>>| match applies {
            true => asked.await,
            false => Ok(NONE),
        };
        let tampered = format!("{} ", sender.body);
        let mut answers = vec![
            stage.post(&driver, "", &good, sender.body).await?,
            stage.post(&driver, "", &good, sender.body).await?,
            only(
                sender.covers,
                stage.post(&driver, "", &good, &tampered).boxed_local(),
            )
            .await?,
            stage
                .post(&driver, "", &truncated(good.clone(), NEW), sender.body)
                .await?,
            only(sender.timed, post(NEW, now() - 400, sender.body).boxed_local()).await?,
            only(sender.timed, post(NEW, now() + 400, sender.body).boxed_local()).await?,
            stage.post(&driver, "", &good[1..], sender.body).await?,
            post(FOREIGN, now(), sender.body).await?,
            post(OLD, now(), sender.body).await?,
            stage.post(&driver, "", &other_type, sender.body).await?,
        ];
        let (flooded, grown) = stage.flood(&driver).await?;
        // The driver says 413 and hangs up: whoever is still sending may only hear that.
        let cut_off = matches!(flooded, None | Some(413 | 502));
        answers.push(if cut_off { 413 } else { flooded.unwrap_or_default() });
        stage.rotate(&driver, &json!({"secret": NEW}))?;
        until("the old secret is of no use", PATIENCE, async || {
            Ok(post(OLD, now(), sender.body).await? == 401)
        })
        .await?;
        answers.push(401);
        answers.push(post(NEW, now(), sender.body).await?);

        // Then only what proves itself is let in, and it is one event at the sink
        println!("{:18} {answers:?}, memory +{grown} KiB", sender.provider);
        let (covers, timed) = (
            if sender.covers { 401 } else { NONE },
            if sender.timed { 401 } else { NONE },
        );
        assert_eq!(
            answers,
            [
                202, 202, covers, 401, timed, timed, 401, 401, 202, 415, 413, 401, 202
            ],
            "{}",
            sender.provider
        );
        ids.push(expected_id(sender));
        let events = stage.arrived(&ids).await?;
        exactly(sender, &driver, &events[events.len() - 1]);
    }
    Ok(())
}

/// The id that the provider gave, or the hash of the body.
fn expected_id(sender: &Sender) -> &'static str {
    match sender.provider {
        "github" => "d-1",
        "gitlab" => "011833aebc157f52b6a6fb6d792057b7ec268646b3c065e2b072158aa1997525",
        "stripe" => "evt_1",
        "slack" => "Ev1",
        "standard-webhooks" => "msg_1",
        "generic" => "a902c5b1c4b9867a1aceb9d0109d423f0e7f7e5d87240f9320d385a8568ca292",
        _ => "c1",
    }
}

fn exactly(sender: &Sender, driver: &Listening, event: &Event) {
    let own = &*format!("/dispatch/webhook/{}", driver.name);
    let (ty, source, subject) = match sender.provider {
        "github" => (
            "com.github.issue.opened",
            "https://api.github.com/repos/o/r",
            Some("7"),
        ),
        "gitlab" => ("com.gitlab.push", "https://gitlab.com/o/r", Some("da1560886d")),
        "stripe" => (
            "com.stripe.charge.succeeded",
            "https://api.stripe.com",
            Some("ch_1"),
        ),
        "slack" => ("com.slack.message", "https://slack.com/T1", Some("C1")),
        "standard-webhooks" => ("invoice.paid", own, None),
        "generic" => ("webhook.received", own, None),
        _ => ("t", "/s", None),
    };
    let found = (event.ty(), event.source(), event.subject());
    assert_eq!(found, (ty, source, subject), "{}", sender.provider);
    let data = event.data().map(|data| data.bytes);
    match sender.provider {
        "cloudevents" => assert_eq!(data, None),
        _ => assert_eq!(data, Some(sender.body.as_bytes()), "{}", sender.provider),
    }
}
