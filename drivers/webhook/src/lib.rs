//! Turns signed web hooks into events: GitHub, GitLab, Stripe, Slack, Standard Webhooks, any sender with an HMAC, and
//! CloudEvents web hooks.
//!
//! Each delivery goes one way: counted while it is read (the SDK's door), its signature checked over the raw bytes,
//! its media type, then what it says. Nothing is parsed before the signature is good. Whoever sent it hears 2xx only
//! after the hub has the event on disk, and a repeated delivery is the same event, because its id is the provider's or
//! made of the body.
//!
//! Read `signature.rs` (who may), then `event.rs` (what it becomes). This driver calls nobody: also not the
//! `WebHook-Request-Callback` of a handshake, for whom a stranger names may be one of ours.

mod config;
mod event;
mod github;
mod gitlab;
mod handshake;
mod rate;
mod signature;

use std::sync::Arc;

use chrono::Utc;
use dispatch_driver_sdk::{About, Acceptor, Arrival, Context, Door, Failure, Key, Limits, Reply, reply};
use http::Method;

pub use config::{Config, Plan, Provider};

use event::Made;
use rate::Rate;

/// What this driver is.
pub const ABOUT: About = About {
    name: "webhook",
    summary: "Turns signed web hooks into events.",
    keys: &[
        Key::plain(
            "provider",
            "who sends: github, gitlab, stripe, slack, standard-webhooks, generic or cloudevents",
        ),
        Key::secret("secret", "the shared secret; several, comma separated, all count"),
        Key::plain("type", "the events' type instead of the provider's"),
        Key::plain("source", "the events' source instead of the provider's"),
        Key::plain(
            "signature-header",
            "generic: where the signature is; X-Signature-256 unless given",
        ),
        Key::plain(
            "rate",
            "cloudevents: deliveries a minute that are granted and taken; 600 unless given",
        ),
    ],
};

/// `--test`: how deliveries prove themselves. Nobody is called.
pub async fn test(config: Config) -> Result<String, Failure> {
    let secrets = match Plan::try_from(config)?.keys.len() {
        1 => "the secret".to_owned(),
        count => format!("any of {count} secrets"),
    };
    Ok(format!("deliveries that know {secrets} are taken\n"))
}

/// The driver: opens its door and serves it.
pub async fn drive(config: Config, context: Context) -> Result<(), Failure> {
    let plan = Arc::new(Plan::try_from(config)?);
    let rate = Arc::new(Rate::per_minute(plan.rate));
    let door = Door::open(&context).await?;
    let acceptor = door.acceptor();
    door.serve(Limits::default(), move |arrival| {
        let (plan, rate, acceptor) = (plan.clone(), rate.clone(), acceptor.clone());
        async move { answer(&plan, &rate, &acceptor, arrival).await }
    })
    .await
}

async fn answer(plan: &Plan, rate: &Rate, acceptor: &Acceptor, arrival: Arrival) -> Reply {
    if plan.provider == Provider::CloudEvents && arrival.method == Method::OPTIONS {
        return handshake::answer(plan, &arrival);
    }
    if arrival.method != Method::POST {
        return not_allowed();
    }
    let now = Utc::now();
    if let Err(problem) = signature::check(plan, &arrival, now) {
        tracing::info!("refused: {problem}");
        return reply(401, problem.to_string());
    }
    if plan.provider == Provider::CloudEvents
        && let Err(after) = rate.take()
    {
        return handshake::too_many(after);
    }
    let events = match event::made(plan, &arrival, now) {
        Ok(Made::Events(events)) => events,
        Ok(Made::Said(reply)) => return reply,
        Err(wrong) => {
            tracing::warn!("refused: {wrong}");
            return reply(wrong.status(), wrong.to_string());
        }
    };
    match acceptor.accept(events).await {
        Ok(_) => reply(202, ""),
        Err(not) => not.reply(),
    }
}

fn not_allowed() -> Reply {
    let mut reply = reply(405, "deliveries are POSTs");
    let post = http::HeaderValue::from_static("POST");
    reply.headers_mut().insert(http::header::ALLOW, post);
    reply
}
