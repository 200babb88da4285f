//! What an admin tries before a hub is told: who is there, who lets the driver in, what Event Grid would hear.

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::eventgrid::{Entra, Namespace, Settings};
use serde_json::json;
use tokio::net::TcpListener;

use crate::PATIENCE;

/// Exit code, standard output and standard error of the driver with `--test`.
async fn tried(settings: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let hub = DriverHub::start().await.unwrap();
    let mut driver = crate::spawn(&hub, &[&["--test"], settings].concat(), environment);
    let ended = driver.ended(PATIENCE).await.unwrap();
    assert_eq!(hub.count(), 0, "no hub is spoken to");
    (ended.code(), driver.stdout(), driver.stderr())
}

async fn is_good(settings: &[&str], environment: &[(&str, &str)], said: &str) {
    let (code, stdout, stderr) = tried(settings, environment).await;
    assert_eq!((code, stdout.trim_end()), (Some(0), said), "{stderr}");
}

async fn is_bad(settings: &[&str], environment: &[(&str, &str)], why: &str) {
    let (code, stdout, stderr) = tried(settings, environment).await;
    assert_eq!((code, stdout.as_str()), (Some(1), ""), "{why}");
    assert!(stderr.starts_with(why), "{why:?}: {stderr}");
    let lines = stderr.lines().count();
    assert_eq!(lines, 1, "{stderr}");
}

#[tokio::test]
async fn a_namespace_is_asked_whether_it_has_the_subscription_and_lets_the_driver_in() {
    // Given a namespace whose only event may be delivered once
    let namespace = Namespace::start(Settings {
        deliveries: 1,
        ..Settings::default()
    })
    .await
    .unwrap();
    namespace.put([json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"})]);
    let settings = |url: &str, subscription: &str| {
        [
            format!("--namespace-endpoint={url}"),
            format!("--authority={}", namespace.url()),
            format!("--topic={}", Namespace::TOPIC),
            format!("--subscription={subscription}"),
        ]
    };
    let right = settings(&namespace.url(), Namespace::SUBSCRIPTION);
    let other = settings(&namespace.url(), "other");
    let nobody = settings("http://127.0.0.1:1", Namespace::SUBSCRIPTION);
    let [right, other, nobody] = [&right, &other, &nobody].map(|all| all.each_ref().map(String::as_str));
    let key = [("ACCESS_KEY", Namespace::KEY)];
    let [tenant, client, secret] = Namespace::APPLICATION;
    let application = |secret| {
        [
            ("TENANT_ID", tenant),
            ("CLIENT_ID", client),
            ("CLIENT_SECRET", secret),
        ]
    };

    // When right and wrong settings are tried
    let there = "the subscription is there, and lets the driver in";
    is_good(&right, &key, there).await;
    is_good(&right, &application(secret), there).await;
    let stranger = "the namespace does not let the driver in: 127.0.0.1 says 401 Unauthorized";
    is_bad(&right, &[("ACCESS_KEY", "bm8=")], stranger).await;
    is_bad(&right, &application("wrong"), stranger).await;
    let missing = "the namespace has no such topic, or the topic no such subscription: 127.0.0.1 says 404";
    is_bad(&other, &key, missing).await;
    is_bad(
        &nobody,
        &key,
        "the namespace cannot be asked: cannot reach 127.0.0.1",
    )
    .await;
    namespace.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    is_bad(&right, &key, "the namespace cannot be asked: 127.0.0.1 says 503").await;

    // Then no event was taken
    assert_eq!((namespace.owed(), namespace.dead().len()), (1, 0));
}

fn at<'a>(secret: &'a str, url: &'a str) -> [(&'a str, &'a str); 2] {
    [("SHARED_SECRET", secret), ("DISPATCH_PUBLIC_URL", url)]
}

#[tokio::test]
async fn the_address_of_a_web_hook_is_tried_as_event_grid_tries_it() {
    // Given a driver that listens
    let hub = DriverHub::start().await.unwrap();
    let driver = crate::spawn(&hub, &[], &[("SHARED_SECRET", "s3cret,0ther")]);
    let url = crate::address(&hub, &driver).await;

    // When it is tried with this address and that secret, or without any
    let yes = "the driver answers Event Grid's handshake at 127.0.0.1";
    is_good(&[], &at("s3cret", &url), yes).await;
    is_good(&[], &at("0ther,new", &url), yes).await;
    is_good(&[], &at("x", &format!("{url}?secret=s3cret")), yes).await;
    is_good(
        &[],
        &[("SHARED_SECRET", "s3cret")],
        "deliveries to the driver's url are taken; with --url=... it is tried",
    )
    .await;

    // Then one that Event Grid would not deliver to is told of, and no secret
    let far = "Event Grid would not reach the driver: 127.0.0.1 says 503 Service Unavailable";
    is_bad(&[], &at("wr0ng", &url), far).await;
    let nobody = "Event Grid would not reach the driver: cannot reach 127.0.0.1";
    is_bad(&[], &at("s3cret", "http://127.0.0.1:1/"), nobody).await;
    let plain = "--url: \"http://hub.example.com/\" must begin with https://";
    is_bad(&[], &at("s3cret", "http://hub.example.com/"), plain).await;
    let (_, _, stderr) = tried(&[], &at("wr0ng", &url)).await;
    assert!(!stderr.contains("wr0ng"), "{stderr}");
}

#[tokio::test]
async fn the_issuer_of_tokens_is_asked_for_its_keys() {
    let entra = Entra::start().await.unwrap();
    let issuer = format!("--issuer={}", entra.issuer());
    let other = format!("--issuer={}", entra.issuer().replace("127.0.0.1", "localhost"));

    let (code, stdout, stderr) = tried(&["--audience=api://hub", &issuer], &[]).await;

    assert_eq!(code, Some(0), "{stderr}");
    let first = stdout.lines().next();
    assert_eq!(first, Some("the issuer is there, with keys to sign with: 1"));
    let why = "the issuer's tokens cannot be checked: the issuer's OpenID configuration is that of";
    is_bad(&["--audience=api://hub", &other], &[], why).await;
}

#[tokio::test]
async fn an_address_that_does_not_let_event_grid_deliver_is_told_of() {
    for (answer, consents) in [
        (Some("eventgrid.azure.net"), true),
        (Some("*"), true),
        (Some("example.com"), false),
        (None, false),
    ] {
        // Given somebody who answers the handshake so
        let headers: HeaderMap = answer
            .map(|origin| ("webhook-allowed-origin".parse().unwrap(), origin.parse().unwrap()))
            .into_iter()
            .collect();
        let router = Router::new().fallback(async move || headers.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async { axum::serve(listener, router).await });

        // When it is tried, then only consent is
        match consents {
            true => {
                is_good(
                    &[],
                    &at("s3cret", &url),
                    "the driver answers Event Grid's handshake at 127.0.0.1",
                )
                .await
            }
            false => {
                let why = "Event Grid would not deliver: the answer to its handshake does not name eventgrid.azure.net";
                is_bad(&[], &at("s3cret", &url), why).await;
            }
        }
        server.abort();
    }
}
