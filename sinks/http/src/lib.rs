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
mod reply;
mod request;
mod verdict;

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dispatch_contract::{Answer, Delivery, Outcome, Sink};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

pub use client::Client;
pub use config::{Mode, Target, TargetError};
pub use request::request_from;
pub use verdict::verdict;

use reply::ReplyError;

/// A web hook that gets events.
#[derive(Debug)]
pub struct HttpSink {
    client: Client,
    target: Target,
    complained: AtomicBool,
}

impl HttpSink {
    /// A sink for `target`, with connections from the pool of `client`.
    pub fn new(client: Client, target: Target) -> Self {
        Self {
            client,
            target,
            complained: AtomicBool::new(false),
        }
    }

    async fn attempt(&self, delivery: Delivery) -> Answer {
        let response = match self.client.send(request_from(&delivery, &self.target)).await {
            Ok(response) => response,
            Err(error) => return Answer::released(format!("cannot reach the sink: {}", causes(&error))),
        };
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
                self.complain(&delivery, &problem);
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

/// The causes of an error, outermost first, on one line. Its own text only says "client error".
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        texts.push(error.to_string());
        cause = error.source();
    }
    match texts.is_empty() {
        true => error.to_string(),
        false => texts.join(": "),
    }
}
