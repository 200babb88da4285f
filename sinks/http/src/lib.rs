//! CloudEvents to a web hook: one POST per attempt, binary or structured mode, an answer may be a reply event.
//!
//! Follows the CloudEvents HTTP binding 1.0.2 (section 3.1 binary, 3.2 structured mode) and Knative's data
//! plane: what a status code means is one table (`verdict.rs`), and a 2xx answer that is itself a CloudEvent is
//! an event the delivery caused. A redirect is not followed, so that nobody else can choose where events go.
//! There is no retry, no timeout and no metric here: those are the router's.
//!
//! Every attempt carries `dispatch-delivery` (the same for all attempts of a delivery, so that a receiver can
//! tell repeats apart) and `dispatch-attempt`. Read `request.rs`, then `verdict.rs`.

mod client;
mod config;
mod connection;
mod pool;
mod reply;
mod request;
mod verdict;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use dispatch_contract::{Answer, Delivery, Outcome, Sink};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

pub use client::Client;
pub use config::{Mode, Target, TargetError};
pub use request::request_from;
pub use verdict::verdict;

use client::Way;
use connection::Connection;
use pool::Host;
use reply::ReplyError;

/// A web hook that gets events.
pub struct HttpSink {
    way: Way,
    target: Target,
    complained: AtomicBool,
}

impl HttpSink {
    /// A sink for `target`, with connections from the pool of `client`.
    pub fn new(client: Client, target: Target) -> Self {
        Self {
            way: client.way_to(&target.uri),
            target,
            complained: AtomicBool::new(false),
        }
    }

    async fn attempt(&self, delivery: Delivery) -> Answer {
        let request = request_from(&delivery, &self.target);
        match &self.way {
            Way::Plain(host) => self.plain(host, &delivery, request).await,
            Way::Secure(client) => match client.request(request).await {
                Ok(response) => self.answer(&delivery, response).await,
                // Its own text only says "client error".
                Err(error) => unreachable_sink(error.source().unwrap_or(&error)),
            },
        }
    }

    async fn plain(
        &self,
        host: &Arc<Host>,
        delivery: &Delivery,
        mut request: Request<Full<Bytes>>,
    ) -> Answer {
        request::to_origin_form(&mut request, &self.target);
        // An idle connection may end just as it is used; as long as nothing was sent, the next one is tried.
        let (mut connection, response) = loop {
            let idle = host.take().await;
            let is_new = idle.is_none();
            let mut connection = match idle {
                Some(connection) => connection,
                None => match Connection::open(&host.name, host.port).await {
                    Ok(connection) => connection,
                    Err(error) => return unreachable_sink(&error),
                },
            };
            match connection.send(request).await {
                Ok(response) => break (connection, response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if !is_new => request = unsent,
                    _ => return unreachable_sink(&error.into_error()),
                },
            }
        };
        let answer = connection.drive(self.answer(delivery, response)).await;
        if connection.is_reusable().await {
            host.keep(connection);
        }
        answer
    }

    async fn answer(&self, delivery: &Delivery, response: Response<Incoming>) -> Answer {
        let (head, body) = response.into_parts();
        let answer = Answer::from(verdict(head.status, &head.headers));
        if answer.outcome != Outcome::Accepted || !reply::is_reply(&head.headers) {
            reply::drain(body).await;
            return answer;
        }
        match reply::read(&head.headers, body).await {
            Ok(event) => answer.with_event(event),
            Err(ReplyError::BrokenOff(reason)) => Answer::released(format!("the reply broke off: {reason}")),
            Err(ReplyError::Unusable(problem)) => {
                self.complain(delivery, &problem);
                answer
            }
        }
    }

    /// A receiver that answers wrongly once does so every time: one line is enough.
    fn complain(&self, delivery: &Delivery, problem: &str) {
        let subscription = delivery.subscription_name.as_ref();
        if self.complained.swap(true, Ordering::Relaxed) {
            tracing::debug!(subscription, problem, "the sink's reply is no event again");
        } else {
            tracing::warn!(
                subscription,
                problem,
                "the sink's reply is no event; it counts as taken"
            );
        }
    }
}

impl Sink for HttpSink {
    fn destination(&self) -> Option<Arc<str>> {
        Some(self.target.destination().into())
    }

    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Answer> {
        self.attempt(delivery).boxed()
    }
}

/// The error and its causes on one line.
fn unreachable_sink(error: &(dyn Error + 'static)) -> Answer {
    let mut texts = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    Answer::released(format!("cannot reach the sink: {}", texts.join(": ")))
}

impl fmt::Debug for HttpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSink")
            .field("target", &self.target.destination())
            .finish_non_exhaustive()
    }
}
