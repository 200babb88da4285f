//! One attempt as a task: bounded in time, and always reported, whatever the sink does.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Answer, Delivery, Sink};
use futures_util::FutureExt as _;
use futures_util::future::{AbortRegistration, Abortable};
use tokio::time::{Instant, timeout};

use crate::machine::Ticket;

/// An attempt that ended.
pub(crate) struct Ended {
    pub(crate) ticket: Ticket,
    pub(crate) answer: Answer,
    pub(crate) took: Duration,
}

/// Tries once. A timeout, a panic and an abort are all [`Outcome::Released`](dispatch_contract::Outcome).
pub(crate) async fn attempt(
    ticket: Ticket,
    sink: Arc<dyn Sink>,
    delivery: Delivery,
    abort: AbortRegistration,
) -> Ended {
    let started = Instant::now();
    let patience = delivery.timeout;
    let name = delivery.subscription_name.clone();
    // Everything of the sink lives and is dropped inside, so that no panic of its can leave this task.
    let work = async move { Abortable::new(timeout(patience, sink.deliver(delivery)), abort).await };
    let answer = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(Ok(answer))) => answer,
        Ok(Ok(Err(_))) => Answer::released(format!("no answer within {patience:?}")),
        Ok(Err(_)) => Answer::released("the attempt was cut short"),
        Err(panic) => {
            let panic = said(&*panic);
            tracing::error!(subscription = %name, panic, "a sink panicked");
            Answer::released(format!("the sink panicked: {panic}"))
        }
    };
    Ended {
        ticket,
        answer,
        took: started.elapsed(),
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
