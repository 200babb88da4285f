//! The web hook: what Event Grid hears.
//!
//! Event Grid drops events, or puts them aside, that are answered with 400, 401, 403 or 413, and from a namespace also
//! with 404; anything else it repeats for a day. So a delivery is answered with 2xx or with 503 and never with
//! anything final: what cannot be taken now may be taken later, and a wrong secret, a limit or a body that cannot be
//! read is something that an operator can mend within the day.

use std::sync::Arc;

use dispatch_contract::{Event, EventError};
use dispatch_driver_sdk::{Acceptor, Arrival, Context, Door, Failure, Limits, Reply, Unread, later, reply};
use http::Method;

use crate::delivery::{self, Delivery};
use crate::event;
use crate::guard::Guard;

/// A delivery has at most a mebibyte of events; JSON of them may be longer when it is escaped.
const MAX_BODY: usize = 4 << 20;

/// Serves the web hook until told to stop.
pub(crate) async fn serve(guard: Guard, source: Option<String>, context: &Context) -> Result<(), Failure> {
    let (guard, source) = (Arc::new(guard), Arc::new(source));
    let door = Door::open(context).await?;
    let acceptor = door.acceptor();
    let limits = Limits {
        body: MAX_BODY,
        unread: Unread::Later,
        ..Limits::default()
    };
    door.serve(limits, move |arrival| {
        let (guard, source, acceptor) = (guard.clone(), source.clone(), acceptor.clone());
        async move { answer(&guard, source.as_deref(), &acceptor, &arrival).await }
    })
    .await
}

async fn answer(guard: &Guard, source: Option<&str>, acceptor: &Acceptor, arrival: &Arrival) -> Reply {
    if let Err(stranger) = guard.admit(arrival).await {
        tracing::warn!("a request is told to come again: {stranger}");
        return later(stranger.to_string());
    }
    if arrival.method == Method::OPTIONS {
        return delivery::handshake(arrival);
    }
    if arrival.method != Method::POST {
        return reply(405, "deliveries are POSTs");
    }
    let events: Result<_, EventError> = match delivery::read(arrival) {
        Ok(Delivery::Validation(answer)) => return reply(200, answer),
        Ok(Delivery::Nothing) => return reply(200, ""),
        Ok(Delivery::Events(items)) => items.iter().map(|item| event::event(source, item)).collect(),
        Err(problem) => {
            tracing::warn!("a delivery is told to come again: {problem}");
            return later(problem.to_string());
        }
    };
    let events: Vec<Event> = match events {
        Ok(events) => events,
        Err(problem) => return later(problem.to_string()),
    };
    match acceptor.accept_or_skip(events).await {
        Ok(emitted) if emitted.refused.is_empty() => reply(200, ""),
        // The others are on disk; what the hub refuses comes again, and its limit may have been raised by then.
        Ok(_) => later("the hub refuses some of the events"),
        Err(_) => later("the hub does not take the events now"),
    }
}
