//! A function as a sink: one delivery is one call, and its answer carries the run.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use dispatch_contract::{
    Answer, Delivery, Faas as _, FunctionError, FunctionErrorKind, Invocation, InvocationError,
    InvocationResult, Logs, Outcome, Sink,
};
use dispatch_schemas::{Run, Status};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use uuid::Uuid;

use super::Functions;
use super::message::{self, CalledBy, Request, request_from};
use super::registry::Known;
use super::returned::Returned;
use super::run;
use super::secrets::{SecretsError, collect};
use super::verdict::verdict;

/// Time of a call of a function that has no bound of its own.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// A delivery waits at most this long for a function that is being built, and at most half of its own time.
const BUILD_PATIENCE: Duration = Duration::from_secs(60);
const NOT_READY_FOR: Duration = Duration::from_secs(1);

/// Delivers to one function, whichever has the name when an event comes.
pub(super) struct FunctionSink {
    pub(super) functions: Functions,
    pub(super) organization: Arc<str>,
    pub(super) function: Arc<str>,
    /// Names of secrets the subscription adds to the function's own.
    pub(super) secrets: Vec<String>,
}

impl Sink for FunctionSink {
    fn deliver(&self, delivery: Delivery) -> BoxFuture<'_, Answer> {
        self.try_once(delivery).map(Done::into_answer).boxed()
    }

    fn destination(&self) -> Option<Arc<str>> {
        Some(run::source_of(&self.function).into())
    }
}

/// How an attempt ended, for whoever waits for more than the router does.
pub(super) struct Done {
    /// What becomes of the delivery, and what it caused but for the event of the run.
    answer: Answer,
    /// The run, if there was a call.
    pub(super) run: Option<Arc<Run>>,
    /// Why it failed, if it did.
    pub(super) failure: Option<InvocationError>,
    /// When the run ended, if an event is to tell of it.
    told_at: Option<DateTime<Utc>>,
}

impl Done {
    /// What became of the delivery.
    pub(super) fn outcome(&self) -> &Outcome {
        &self.answer.outcome
    }

    /// The answer to the delivery, with the event that tells of the run.
    pub(super) fn into_answer(self) -> Answer {
        let (Some(run), Some(at)) = (&self.run, self.told_at) else {
            return self.answer;
        };
        match run::event_of(run, at) {
            Ok(event) => self.answer.with_event(event),
            Err(error) => {
                tracing::error!(run = %run.name, %error, "a run cannot be told");
                self.answer
            }
        }
    }
}

impl From<Answer> for Done {
    fn from(answer: Answer) -> Self {
        Self {
            answer,
            run: None,
            failure: None,
            told_at: None,
        }
    }
}

impl FunctionSink {
    async fn try_once(&self, delivery: Delivery) -> Done {
        let Some(known) = self.functions.0.registry.get(&self.organization, &self.function) else {
            return Done::from(Answer::from(Outcome::Released {
                reason: format!("function {} not found", self.function),
                code: Some(404),
                after: None,
            }));
        };
        let own = delivery.subscription.0 == known.id;
        match request_from(&delivery.event, own) {
            Ok(request) => self.attempt(&known, delivery, request).await,
            Err(error) => Answer::rejected(format!("the event's data is not JSON: {error}")).into(),
        }
    }

    /// Makes the call that the delivery asks for.
    pub(super) async fn attempt(&self, known: &Known, delivery: Delivery, mut request: Request) -> Done {
        let functions = &self.functions.0;
        request.secrets.splice(..0, self.secrets.iter().cloned());
        let under_way = functions.cancelled.under_way(run::name_of(&delivery.id()));
        let mut attempt = Attempt::begin(self, known, &delivery, &request);
        let called = tokio::select! {
            biased;
            () = under_way.cancelled() => Called::Cancelled,
            called = self.work(known, &delivery, &request, &mut attempt.revision) => called,
        };
        let (answers, called) = match called {
            Called::Ended(called) => (request.by.has_caller(), called),
            // It is neither tried again nor a dead letter: nobody wants it any more.
            Called::Cancelled => (true, failed(run::cancelled())),
            Called::NotReady => {
                attempt.wait();
                return Done::from(Answer::from(Outcome::Released {
                    reason: not_ready(&known.name),
                    code: Some(503),
                    after: Some(NOT_READY_FOR),
                }));
            }
            Called::NoSecrets(error) => {
                tracing::error!(function = %known.name, %error, "secrets cannot be read");
                return Answer::released("the secrets of the function cannot be read").into();
            }
        };
        attempt.end(answers, called.result, called.logs)
    }

    /// Waits until the function can be called, and calls it.
    async fn work(
        &self,
        known: &Known,
        delivery: &Delivery,
        request: &Request,
        called: &mut Option<Uuid>,
    ) -> Called {
        let deadline = Instant::now() + delivery.timeout;
        let Some(revision) = known.revision(BUILD_PATIENCE.min(delivery.timeout / 2)).await else {
            return match request.by.has_caller() {
                true => Called::Ended(failed(InvocationError::Unavailable(not_ready(&known.name)))),
                false => Called::NotReady,
            };
        };
        *called = Some(revision);
        // The engine gives up a little before the router does, so that the run can be told.
        let left = deadline.saturating_duration_since(Instant::now());
        let left = left.saturating_sub((delivery.timeout / 10).min(Duration::from_millis(250)));
        let timeout = known.timeout.unwrap_or(DEFAULT_TIMEOUT).min(left);
        match self.call(known, delivery, request, revision, timeout).await {
            Ok(called) => Called::Ended(called),
            Err(error) => Called::NoSecrets(error),
        }
    }

    async fn call(
        &self,
        known: &Known,
        delivery: &Delivery,
        request: &Request,
        revision: Uuid,
        timeout: Duration,
    ) -> Result<InvocationResult, SecretsError> {
        let functions = &self.functions.0;
        if let Err(error) = known.schemas.input(request.payload.get().as_bytes()).await {
            return Ok(failed(error));
        }
        let names = known.secrets.iter().chain(&request.secrets);
        let secrets = match collect(&functions.store, &self.organization, names).await {
            Err(SecretsError::Missing(reason)) => {
                return Ok(failed(InvocationError::Function(FunctionError {
                    kind: FunctionErrorKind::Input,
                    message: format!("error when retrieving secrets from secret store: {reason}"),
                    stacktrace: Vec::new(),
                })));
            }
            collected => collected?,
        };
        let deadline = known.timeout.map(|own| Utc::now() + own);
        let invocation = Invocation {
            revision,
            payload: Bytes::copy_from_slice(request.payload.get().as_bytes()),
            context: message::context(&delivery.event, &request.by, deadline),
            secrets,
            timeout: Some(timeout),
        };
        let mut called = functions.engine.invoke(invocation).await;
        if let Ok(output) = &called.result
            && let Err(error) = known.schemas.output(output).await
        {
            called.result = Err(error);
        }
        Ok(called)
    }
}

/// What became of a call.
enum Called {
    /// It ended, well or not.
    Ended(InvocationResult),
    /// Somebody cancelled its run.
    Cancelled,
    /// The function cannot be called yet.
    NotReady,
    /// The store cannot be read now.
    NoSecrets(SecretsError),
}

fn not_ready(function: &str) -> String {
    format!("function {function} is not READY")
}

fn failed(error: InvocationError) -> InvocationResult {
    InvocationResult {
        result: Err(error),
        logs: Logs::default(),
    }
}

/// An attempt under way, as people see it: whatever ends it, its run does not stay CREATING.
struct Attempt<'a> {
    functions: &'a Functions,
    known: &'a Known,
    event_id: String,
    revision: Option<Uuid>,
    run: Option<Arc<Run>>,
}

impl<'a> Attempt<'a> {
    fn begin(sink: &'a FunctionSink, known: &'a Known, delivery: &Delivery, request: &Request) -> Self {
        let ongoing = &sink.functions.0.ongoing;
        let now = run::nanos(Utc::now());
        let executed = ongoing
            .executed_time(run::name_of(&delivery.id()))
            .or_else(|| match request.by {
                CalledBy::Exec { .. } | CalledBy::Api { .. } => delivery.event.time().map(run::nanos),
                CalledBy::Event(_) => None,
            })
            .unwrap_or(now);
        let function = (&*known.name, known.id);
        let run = run::begun(delivery, function, request, &known.secrets, executed);
        // One that was cancelled before is shown as ended already.
        let is_made = !sink.functions.0.cancelled.is_asked(run.name);
        let run = Arc::new(Run {
            started_time: is_made.then_some(now),
            ..run
        });
        if is_made {
            ongoing.begun(&known.organization, Arc::clone(&run));
        }
        Self {
            functions: &sink.functions,
            known,
            event_id: delivery.event.id().to_owned(),
            revision: None,
            run: Some(run),
        }
    }

    /// The function cannot be called yet.
    fn wait(&mut self) {
        if let Some(run) = self.run.take() {
            let waiting = Run {
                status: Some(Status::Initialized),
                started_time: None,
                ..Run::clone(&run)
            };
            let ongoing = &self.functions.0.ongoing;
            ongoing.begun(&self.known.organization, Arc::new(waiting));
        }
    }

    /// Tells everybody how the call ended. `answered`: whoever called has the answer, also a bad one.
    fn end(&mut self, answered: bool, result: Result<Bytes, InvocationError>, logs: Logs) -> Done {
        let functions = &self.functions.0;
        let organization = &self.known.organization;
        let Some(begun) = self.run.take() else {
            return Answer::released("the attempt has ended before").into();
        };
        let at = Utc::now();
        let mut run = Run {
            faas_id: self.revision,
            ..run::ended(&begun, &result, logs, at)
        };
        let returned = Returned {
            function: &self.known.name,
            run: run.name,
            at,
            max_bytes: functions.limits.load().event_bytes,
        };
        let events = returned.events(run.output.as_deref()).unwrap_or_else(|error| {
            run.reason = Some(vec![format!("the events it returned are not published: {error}")]);
            Vec::new()
        });
        let run = Arc::new(run);
        let mut answer = match answered {
            // There is nothing to deliver again.
            true => Answer::accepted(),
            false => Answer::from(verdict(&result)),
        };
        let there = functions.registry.get(organization, &self.known.name);
        if there.is_none_or(|there| there.id != self.known.id) {
            // The function went away meanwhile, and its runs with it.
            functions.ongoing.forget_function(self.known.id);
            functions.ongoing.answer(&self.event_id, &run);
            return Done {
                answer,
                run: Some(run),
                failure: result.err(),
                told_at: None,
            };
        }
        functions.ongoing.ended(organization, Arc::clone(&run));
        functions.ongoing.answer(&self.event_id, &run);
        functions.live.run(Arc::clone(organization), Arc::clone(&run));
        answer.events.extend(events);
        Done {
            answer,
            run: Some(run),
            failure: result.err(),
            told_at: Some(at),
        }
    }
}

impl Drop for Attempt<'_> {
    /// The router cut the attempt short; it will be made again, or the delivery is given up.
    fn drop(&mut self) {
        if let Some(run) = self.run.take() {
            let cut = InvocationError::Unavailable("the attempt was cut short".to_owned());
            let run = run::ended(&run, &Err(cut), Logs::default(), Utc::now());
            let ongoing = &self.functions.0.ongoing;
            ongoing.ended(&self.known.organization, Arc::new(run));
        }
    }
}
