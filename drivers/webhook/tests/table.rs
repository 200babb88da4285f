//! What each provider's sender hears, against the executable, with signatures made by the providers' own libraries.
//! The table of answers is printed, and checked.

// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::{Process, peak_kib};
use dispatch_fixtures::signers::Signers;
use dispatch_fixtures::webhooks::{self, Header, SENDERS, Sender, truncated};
use dispatch_fixtures::wire::flood;
use reqwest::StatusCode;

const PATIENCE: Duration = Duration::from_secs(30);
const FIVE_GB: usize = 5 << 30;
/// How often something is sent that must be taken.
const TRIES: usize = 5;
/// What a sender hears of a hub that is full, or slow as on a busy machine.
const NOT_NOW: (u16, &str) = (503, "the hub does not take events now");
/// What a driver may grow by while somebody sends it five gigabytes.
const FLAT_KIB: u64 = 16 << 10;

const OLD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEW: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const FOREIGN: &str = "whsec_AAAABBBBCCCCDDDDEEEEFFFFGGGGHHHH";

struct Running {
    process: Process,
    address: SocketAddr,
    hub: DriverHub,
}

async fn start(provider: &str, secret: &str, extra: &[&str]) -> Running {
    let hub = DriverHub::start().await.unwrap();
    let mut args = vec![format!("--provider={provider}")];
    args.extend(extra.iter().map(|arg| (*arg).to_owned()));
    let sink = hub.sink();
    let environment = [("K_SINK", sink.as_str()), ("SECRET", secret), ("PORT", "")];
    let program = Path::new(env!("CARGO_BIN_EXE_dispatch-driver-webhook"));
    let process = Process::start(program, args, &environment).unwrap();
    hub.until("the driver listens", PATIENCE, |hub| !hub.health().is_empty())
        .await
        .unwrap_or_else(|e| panic!("{e:#}: {}", process.stderr()));
    let address = hub.health()[0]["listen"].as_str().unwrap().parse().unwrap();
    Running {
        process,
        address,
        hub,
    }
}

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn headers(signers: &Signers, sender: &Sender, secret: &str, seconds: i64) -> Vec<Header> {
    webhooks::headers(signers, sender, secret, seconds).unwrap()
}

async fn post(at: SocketAddr, headers: &[Header], body: &str) -> u16 {
    answer(at, headers, body).await.0
}

/// Posts what must be taken: again while the hub is slow.
async fn post_again(at: SocketAddr, headers: &[Header], body: &str) -> u16 {
    for _ in 1..TRIES {
        let (status, said) = answer(at, headers, body).await;
        if (status, said.as_str()) != NOT_NOW {
            return status;
        }
    }
    post(at, headers, body).await
}

async fn answer(at: SocketAddr, headers: &[Header], body: &str) -> (u16, String) {
    let client = dispatch_fixtures::hub::client().unwrap();
    let mut request = client
        .post(format!("http://{at}/"))
        .body(body.to_owned())
        .timeout(PATIENCE);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn every_provider_hears_the_right_answer() {
    let Some(signers) = Signers::new().unwrap() else {
        return;
    };
    let columns = [
        "good",
        "replayed",
        "tampered",
        "truncated",
        "expired",
        "future",
        "unsigned",
        "foreign",
        "old key",
        "5 GB",
        "type",
    ];
    println!("{:18} {}", "", columns.join(" | "));
    for sender in SENDERS {
        let run = start(sender.provider, &format!("{NEW},{OLD}"), &[]).await;
        let good = headers(&signers, sender, NEW, now());
        let mut wrong_type = good.clone();
        wrong_type.pop();
        wrong_type.push(("content-type", "application/x-tar".to_owned()));
        let at = |seconds| headers(&signers, sender, NEW, seconds);
        let tampered = format!("{} ", sender.body);

        let mut answers = vec![
            post_again(run.address, &good, sender.body).await,
            post_again(run.address, &good, sender.body).await,
        ];
        assert_eq!(
            run.hub.count(),
            1,
            "{}: a replay is the same event",
            sender.provider
        );
        answers.push(match sender.covers {
            true => post(run.address, &good, &tampered).await,
            false => 0,
        });
        answers.push(post(run.address, &truncated(good.clone(), NEW), sender.body).await);
        answers.push(if sender.timed {
            post(run.address, &at(now() - 400), sender.body).await
        } else {
            0
        });
        answers.push(if sender.timed {
            post(run.address, &at(now() + 400), sender.body).await
        } else {
            0
        });
        answers.push(post(run.address, &good[1..], sender.body).await);
        answers.push(
            post(
                run.address,
                &headers(&signers, sender, FOREIGN, now()),
                sender.body,
            )
            .await,
        );
        let old = headers(&signers, sender, OLD, now());
        answers.push(post_again(run.address, &old, sender.body).await);
        let before = peak_kib(run.process.pid()).unwrap();
        let (status, taken) = flood(run.address, "/", FIVE_GB).await.unwrap();
        let grown = peak_kib(run.process.pid()).unwrap() - before;
        answers.push(status.unwrap_or(413));
        answers.push(post(run.address, &wrong_type, sender.body).await);

        let (covers, timed) = (
            if sender.covers { 401 } else { 0 },
            if sender.timed { 401 } else { 0 },
        );
        println!(
            "{:18} {answers:?}, memory +{grown} KiB, {taken} bytes of 5 GB taken",
            sender.provider
        );
        assert_eq!(
            answers,
            [202, 202, covers, 401, timed, timed, 401, 401, 202, 413, 415],
            "{}",
            sender.provider
        );
        assert!(grown < FLAT_KIB, "{}: {grown} KiB more", sender.provider);
        assert_eq!(run.hub.count(), 1, "{}", sender.provider);
    }
}

#[tokio::test]
async fn a_sender_is_told_to_come_again_while_the_hub_is_full() {
    let run = start("gitlab", "s3cret", &[]).await;
    let headers = [
        ("x-gitlab-token", "s3cret".to_owned()),
        ("content-type", "application/json".to_owned()),
    ];

    run.hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(post(run.address, &headers, SENDERS[1].body).await, 503);
    run.hub.refuse(None);
    assert_eq!(post_again(run.address, &headers, SENDERS[1].body).await, 202);

    let event = run.hub.events().remove(0);
    let named = (event.ty(), event.source(), event.subject());
    assert_eq!(
        named,
        ("com.gitlab.push", "https://gitlab.com/o/r", Some("da1560886d"))
    );
}

#[tokio::test]
async fn a_cloudevents_sender_is_granted_a_rate_and_kept_to_it() {
    let run = start("cloudevents", "t0ken", &["--rate=1"]).await;
    let client = dispatch_fixtures::hub::client().unwrap();
    let url = format!("http://{}/?access_token=t0ken", run.address);

    let asked = client
        .request(reqwest::Method::OPTIONS, &url)
        .header("WebHook-Request-Origin", "emitter.example.com")
        .header("WebHook-Request-Rate", "120")
        .header("WebHook-Request-Callback", format!("{}/callback", run.hub.sink()))
        .send()
        .await
        .unwrap();
    let header = |name: &str| asked.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(asked.status(), 200);
    assert_eq!(header("webhook-allowed-origin"), "emitter.example.com");
    assert_eq!(header("webhook-allowed-rate"), "1");

    let deliver = || {
        client
            .post(&url)
            .header("content-type", "application/cloudevents+json")
            .body(SENDERS[6].body)
            .send()
    };
    assert_eq!(deliver().await.unwrap().status(), 202);
    let again = deliver().await.unwrap();
    assert_eq!(again.status(), 429);
    let wait: u64 = again.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
}

#[tokio::test]
async fn questions_that_are_no_events_are_answered() {
    let Some(signers) = Signers::new().unwrap() else {
        return;
    };
    let slack = Sender {
        provider: "slack",
        body: r#"{"type":"url_verification","challenge":"3eZbrw1a"}"#,
        timed: true,
        covers: true,
    };
    let run = start("slack", OLD, &[]).await;
    let client = dispatch_fixtures::hub::client().unwrap();
    let mut request = client.post(format!("http://{}/", run.address)).body(slack.body);
    for (name, value) in headers(&signers, &slack, OLD, now()) {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), r#"{"challenge":"3eZbrw1a"}"#);
    assert_eq!(run.hub.count(), 0);
}
