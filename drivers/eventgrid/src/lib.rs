//! Turns what Azure Event Grid delivers to a web hook into events: both handshakes, the Event Grid schema and CloudEvents
//! 1.0, one event or a batch.
//!
//! Event Grid repeats a delivery for a day unless the answer is 400, 401, 403 or 413: then it drops the events, or
//! puts them aside. So a delivery that cannot be taken now and one with the wrong secret (a mistake in the settings, most
//! often) hear 503, which is repeated. An event that can never be one is logged with its
//! position and left out, so that it does not take its batch along; the others are accepted all together or not at all.
//!
//! Read `delivery.rs` (what a request is), then `event.rs` (what becomes of it).

mod config;
mod delivery;
mod event;

use std::sync::Arc;

use dispatch_driver_sdk::{
    About, Acceptor, Arrival, Context, Door, Failure, Key, LATER, Limits, NotAccepted, Reply, reply,
};
use http::{HeaderValue, Method, StatusCode, header};

pub use config::{Config, Plan};

use delivery::Delivery;

/// A delivery has at most a mebibyte of events; JSON of them may be longer when it is escaped.
const MAX_BODY: usize = 4 << 20;

/// What this driver is.
pub const ABOUT: About = About {
    name: "eventgrid",
    summary: "Turns what Azure Event Grid delivers into events.",
    keys: &[
        Key::secret(
            "shared-secret",
            "what the query parameter `secret`, or the header, must say; several, comma separated, all count",
        ),
        Key::plain(
            "secret-header",
            "the header that carries the secret; Authorization unless given",
        ),
        Key::plain("source", "the events' source instead of the topic"),
    ],
};

/// The driver: opens its door and serves it.
pub async fn drive(config: Config, context: Context) -> Result<(), Failure> {
    let plan = Arc::new(Plan::try_from(config)?);
    let door = Door::open(&context).await?;
    let acceptor = door.acceptor();
    let limits = Limits {
        body: MAX_BODY,
        ..Limits::default()
    };
    door.serve(limits, move |arrival| {
        let (plan, acceptor) = (plan.clone(), acceptor.clone());
        async move { kept(answer(&plan, &acceptor, &arrival).await) }
    })
    .await
}

async fn answer(plan: &Plan, acceptor: &Acceptor, arrival: &Arrival) -> Reply {
    if !plan.admits(arrival) {
        tracing::warn!("a request without the shared secret: its sender is told to come again");
        return reply(503, "the shared secret is missing or wrong");
    }
    if arrival.method == Method::OPTIONS {
        return delivery::handshake(arrival);
    }
    if arrival.method != Method::POST {
        return reply(405, "deliveries are POSTs");
    }
    let events = match delivery::read(arrival) {
        Ok(Delivery::Validation(answer)) => return reply(200, answer),
        Ok(Delivery::Nothing) => return reply(200, ""),
        Ok(Delivery::Events(items)) => event::events(plan, &items),
        Err(problem) => {
            tracing::warn!("a delivery that cannot be read: {problem}");
            return reply(503, problem.to_string());
        }
    };
    match acceptor.accept_or_skip(events).await {
        Ok(_) => reply(200, ""),
        Err(NotAccepted::Refused(_)) => reply(503, "the hub refuses the events"),
        Err(not) => not.reply(),
    }
}

/// 503 always says when to come again.
fn kept(mut reply: Reply) -> Reply {
    if reply.status() == StatusCode::SERVICE_UNAVAILABLE {
        let headers = reply.headers_mut();
        headers
            .entry(header::RETRY_AFTER)
            .or_insert(HeaderValue::from(LATER));
    }
    reply
}
