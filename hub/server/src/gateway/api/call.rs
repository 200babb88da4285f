//! A call whose caller waits.
//!
//! It is made in the task of its caller, which spares it two switches to another one. When the caller goes away, it
//! moves to a task of its own and ends all the same; so does what is told of it once the caller has the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::thread;
use std::time::Duration;

use axum::response::Response;

use super::served::Served;
use super::{Apis, answer};
use crate::functions::ApiCall;
use crate::hub::App;
use crate::rest::error::ApiError;

/// When it is worth trying again.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Calls, and answers as the function did. `count` is asked last whether the call may be made.
pub(super) async fn waited(
    app: &App,
    served: &Arc<Served>,
    call: ApiCall,
    count: impl FnOnce(&ApiCall) -> Result<(), ApiError>,
) -> Result<Response, ApiError> {
    let Apis {
        turns,
        under_way,
        calls,
        ..
    } = &app.apis;
    let one = app.quotas.calls(&served.organization, |most| {
        under_way.begin(&served.organization, most)
    })?;
    let turn = turns
        .clone()
        .try_acquire_owned()
        .map_err(|_| ApiError::unavailable("too many calls are under way", RETRY_AFTER))?;
    count(&call)?;
    let (hub, organization) = (app.clone(), served.organization.clone());
    // A hub that stops waits for it.
    let running = calls.token();
    let call = async move {
        let called = hub.functions.call(&organization, call).await;
        // Who has the answer may call again.
        drop(one);
        let (ended, untold) = match called {
            Ok((ended, untold)) => (Ok(ended), untold),
            Err(error) => (Err(error), None),
        };
        let tell = async move {
            if let Some(untold) = untold {
                hub.functions.tell(&organization, untold).await;
            }
            drop((turn, running));
        };
        (ended, tell)
    };
    let (ended, tell) = Lasting::new(call).await;
    // It begins when this task waits next: the answer is on its way by then.
    tokio::spawn(tell);
    Ok(answer::response(&served.function, &ended?))
}

/// A future that goes on in a task of its own when it is dropped; so does what it leaves to be done.
struct Lasting<F, E, T>
where
    F: Future<Output = (E, T)> + Send + 'static,
    E: Send,
    T: Future<Output = ()> + Send + 'static,
{
    /// Until it has ended.
    future: Option<Pin<Box<F>>>,
}

impl<F, E, T> Lasting<F, E, T>
where
    F: Future<Output = (E, T)> + Send + 'static,
    E: Send,
    T: Future<Output = ()> + Send + 'static,
{
    fn new(future: F) -> Self {
        Self {
            future: Some(Box::pin(future)),
        }
    }
}

impl<F, E, T> Future for Lasting<F, E, T>
where
    F: Future<Output = (E, T)> + Send + 'static,
    E: Send,
    T: Future<Output = ()> + Send + 'static,
{
    type Output = (E, T);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.future else {
            return Poll::Pending;
        };
        let output = ready!(future.as_mut().poll(context));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<F, E, T> Drop for Lasting<F, E, T>
where
    F: Future<Output = (E, T)> + Send + 'static,
    E: Send,
    T: Future<Output = ()> + Send + 'static,
{
    fn drop(&mut self) {
        // One that panicked cannot go on.
        if let Some(future) = self.future.take()
            && !thread::panicking()
        {
            tokio::spawn(async move { future.await.1.await });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_ends_all_the_same() {
        let (go, gone) = oneshot::channel::<()>();
        let (tell, told) = oneshot::channel();
        let lasting = Lasting::new(async move {
            let went = gone.await;
            (went, async move { tell.send("told").unwrap() })
        });

        tokio::select! {
            biased;
            _ = lasting => unreachable!("it waits"),
            () = std::future::ready(()) => {}
        }
        go.send(()).unwrap();

        assert_eq!(told.await, Ok("told"));
    }

    #[tokio::test]
    async fn what_was_waited_for_leaves_the_rest_to_who_waited() {
        let (tell, mut told) = oneshot::channel();
        let lasting = Lasting::new(async { (1, async move { tell.send(()).unwrap() }) });

        let (answer, rest) = lasting.await;
        tokio::task::yield_now().await;

        assert_eq!(answer, 1);
        told.try_recv().unwrap_err();
        rest.await;
        told.await.unwrap();
    }
}
