//! Bearer tokens of Entra: who is let in, and how often the issuer's keys are read.

use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::eventgrid::{Entra, Sender, Sent};
use dispatch_fixtures::process::Process;
use dispatch_fixtures::rsa::RsaKey;
use serde_json::{Value, json};

const AUDIENCE: &str = "api://hub";
/// Event Grid's own.
const GRID: &str = "4962773b-9cdb-44cf-a8bf-237846a00ab7";

struct Running {
    url: String,
    hub: DriverHub,
    entra: Entra,
    process: Process,
}

async fn start(environment: &[(&str, &str)]) -> Running {
    let (hub, entra) = (DriverHub::start().await.unwrap(), Entra::start().await.unwrap());
    let issuer = format!("--issuer={}", entra.issuer());
    let audience = format!("--audience={AUDIENCE},other");
    let process = crate::spawn(&hub, &[&audience, &issuer], environment);
    let url = crate::address(&hub, &process).await;
    Running {
        url,
        hub,
        entra,
        process,
    }
}

impl Running {
    async fn deliver(&self, query: &str, token: &str, id: &str) -> Sent {
        let sender = Sender::new(&format!("{}{query}", self.url))
            .unwrap()
            .with_token(token);
        let event = json!({"specversion": "1.0", "id": id, "source": "/c", "type": "t"});
        let sent = sender.deliver("application/cloudevents+json", &event);
        sent.await.unwrap()
    }

    /// The same with what must be taken.
    async fn delivered(&self, query: &str, token: &str, id: &str) -> Sent {
        crate::taken(&self.process, async || self.deliver(query, token, id).await).await
    }
}

#[tokio::test]
async fn only_a_token_that_is_right_in_everything_lets_in_and_no_other_answer_is_final() {
    // Given a driver that believes one issuer about one audience
    let run = start(&[]).await;
    let (key, other) = (RsaKey::first().unwrap(), RsaKey::second().unwrap());
    let good = run.entra.claims(AUDIENCE, GRID);
    let with = |name: &str, value: Value| {
        let mut claims = good.clone();
        claims[name] = value;
        run.entra.token("k1", &key, &claims).unwrap()
    };
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        run.entra.token("k1", &key, &claims).unwrap()
    };
    let now = good["iat"].as_u64().unwrap();
    let token = run.entra.token("k1", &key, &good).unwrap();
    let (head, tail) = token.rsplit_once('.').unwrap();
    let none = "eyJhbGciOiJub25lIiwia2lkIjoiazEifQ";

    // When tokens come, each wrong in one thing
    let table: Vec<(&str, String, bool)> = vec![
        ("good", token.clone(), true),
        (
            "of version 2",
            {
                let mut claims = good.clone();
                claims.as_object_mut().unwrap().remove("appid");
                claims["azp"] = GRID.into();
                run.entra.token("k1", &key, &claims).unwrap()
            },
            true,
        ),
        ("for the second audience", with("aud", "other".into()), true),
        ("a little too old", with("exp", (now - 30).into()), true),
        ("too old", with("exp", (now - 120).into()), false),
        ("too early", with("nbf", (now + 120).into()), false),
        ("without an end", without("exp"), false),
        ("with an end in words", with("exp", "never".into()), false),
        ("for another audience", with("aud", "api://theirs".into()), false),
        ("for nobody", without("aud"), false),
        (
            "of another issuer",
            with("iss", "https://sts.windows.net/other/".into()),
            false,
        ),
        ("of no issuer", without("iss"), false),
        (
            "of another application",
            with("appid", "00000000-0000-0000-0000-000000000000".into()),
            false,
        ),
        ("of no application", without("appid"), false),
        (
            "signed by another key",
            run.entra.token("k1", &other, &good).unwrap(),
            false,
        ),
        (
            "of an unknown key",
            run.entra.token("k2", &other, &good).unwrap(),
            false,
        ),
        ("with another's signature", format!("{head}x.{tail}"), false),
        (
            "without a signature",
            format!("{none}.{}.", head.split_once('.').unwrap().1),
            false,
        ),
        ("no token", "s3cret".to_owned(), false),
        ("nothing", String::new(), false),
    ];
    for (n, (what, token, is_good)) in table.iter().enumerate() {
        let id = n.to_string();
        let (sent, expected) = match *is_good {
            true => (run.delivered("", token, &id).await, Sent::Delivered),
            false => (run.deliver("", token, &id).await, Sent::Later(503)),
        };
        println!("{what}: {sent:?}");
        assert_eq!(sent, expected, "{what}: {}", run.process.stderr());
    }

    // Then the hub has what came with good ones, the keys were read once or twice, and no token is in the log
    assert_eq!(run.hub.count(), 4);
    assert!(run.entra.reads() <= 2, "{}", run.entra.reads());
    assert!(!run.process.stderr().contains(tail), "{}", run.process.stderr());
}

#[tokio::test]
async fn a_new_key_is_found_and_unknown_ones_do_not_burden_the_issuer() {
    let run = start(&[]).await;
    let claims = run.entra.claims(AUDIENCE, GRID);
    let second = RsaKey::second().unwrap();
    let new = run.entra.token("k2", &second, &claims).unwrap();
    run.entra.publish("k2", second);

    assert_eq!(run.delivered("", &new, "1").await, Sent::Delivered);
    for n in 0..20 {
        let other = run
            .entra
            .token(&format!("stranger-{n}"), &RsaKey::first().unwrap(), &claims)
            .unwrap();
        assert_eq!(run.deliver("", &other, "2").await, Sent::Later(503));
    }
    assert_eq!(run.delivered("", &new, "3").await, Sent::Delivered);

    assert_eq!(run.entra.reads(), 1, "not again within half a minute");
}

#[tokio::test]
async fn with_a_secret_too_both_must_be_right() {
    let run = start(&[("SHARED_SECRET", "s3cret")]).await;
    let key = RsaKey::first().unwrap();
    let token = run
        .entra
        .token("k1", &key, &run.entra.claims(AUDIENCE, GRID))
        .unwrap();

    assert_eq!(
        run.delivered("?secret=s3cret", &token, "1").await,
        Sent::Delivered
    );
    assert_eq!(run.deliver("", &token, "2").await, Sent::Later(503));
    assert_eq!(run.deliver("?secret=s3cret", "x", "3").await, Sent::Later(503));

    let sender = |query: &str| Sender::new(&format!("{}{query}", run.url)).unwrap();
    sender("?secret=s3cret").ask().await.unwrap();
    assert!(sender("").ask().await.is_err());
    assert!(
        sender("?secret=s3cret").validate().await.is_err(),
        "a POST needs its token"
    );
    sender("?secret=s3cret")
        .with_token(token)
        .validate()
        .await
        .unwrap();
}
