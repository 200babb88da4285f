//! Calling a function through an API: an event that anybody can subscribe to, and the call itself.
//!
//! When somebody waits, the gateway is the one who delivers: it hands event and run to the journal in order without
//! waiting for the disk, and tries the function's sink once. So a crash in the middle leaves a caller without an
//! answer, and at most the event of a call whose run was never told; nothing that was answered with a promise is
//! lost, because nothing was promised. When nobody waits, the event goes to the function's own lane as well, in one
//! durable group, before the call is said to be taken.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use dispatch_contract::{Delivery, Event, Group, InvocationError, NewEvent, Placed, SubscriptionId};
use dispatch_router::stamp;
use dispatch_schemas::{Run, Status};
use serde_json::value::RawValue;
use tokio::time::timeout;
use uuid::Uuid;

use super::message::{ApiData, CALLED};
use super::registry::{Known, State};
use super::sink::{Done, FunctionSink};
use super::{Functions, run};
use crate::rest::error::ApiError;

/// When a function that is not READY may be.
const NOT_READY: Duration = Duration::from_secs(1);

/// A request, as the gateway understood it.
#[derive(Debug)]
pub(crate) struct ApiCall {
    /// The API.
    pub(crate) api: Arc<str>,
    /// Its function.
    pub(crate) function: Arc<str>,
    /// The payload.
    pub(crate) input: Box<RawValue>,
    /// What `context.httpContext` says.
    pub(crate) http: serde_json::Value,
    /// How long its caller waits.
    pub(crate) timeout: Duration,
}

/// A call that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The run; none when the function could not even be asked, or not in time.
    pub(crate) run: Option<Arc<Run>>,
    /// Why it failed, if it did.
    pub(crate) failure: Option<InvocationError>,
}

impl Functions {
    /// Calls and waits. What the journal refuses is not called.
    pub(crate) async fn call(&self, organization: &Arc<str>, call: ApiCall) -> Result<Ended, ApiError> {
        let known = self.callable(organization, &call.function)?;
        let patience = call.timeout;
        let event = event_of(call, true)?;
        let noted = |events: Vec<Event>| Group {
            events: events.into_iter().map(|event| new(organization, event)).collect(),
            ..Group::default()
        };
        self.0.log.note(noted(vec![event.clone()])).await?;
        let sink = FunctionSink {
            functions: self.clone(),
            organization: Arc::clone(organization),
            function: Arc::clone(&known.name),
            secrets: Vec::new(),
        };
        let delivery = Delivery {
            event: event.clone(),
            // It has no place in the journal yet; this only names the run.
            sequence: Uuid::new_v4().as_u64_pair().0,
            organization: Arc::clone(organization),
            subscription: SubscriptionId(known.id),
            subscription_name: Arc::clone(&known.name),
            attempt: 1,
            timeout: patience,
        };
        let Ok(Done { answer, run, failure }) = timeout(patience, sink.try_once(delivery)).await else {
            return Ok(Ended {
                run: None,
                failure: Some(InvocationError::Timeout),
            });
        };
        let caused: Result<Vec<Event>, _> =
            answer.events.iter().map(|caused| stamp(&event, caused)).collect();
        let told = match caused {
            Ok(caused) if caused.is_empty() => Ok(()),
            Ok(caused) => self.0.log.note(noted(caused)).await.map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = told {
            tracing::error!(function = %known.name, error, "the run of a call through an API cannot be told");
        }
        let unanswered = run.is_none() && failure.is_none();
        let failure = match unanswered {
            true => Some(InvocationError::Unavailable(format!("{:?}", answer.outcome))),
            false => failure,
        };
        Ok(Ended { run, failure })
    }

    /// Takes the call: it is durable when this returns, and its run can be asked for.
    pub(crate) async fn call_later(
        &self,
        organization: &Arc<str>,
        call: ApiCall,
    ) -> Result<Arc<Run>, ApiError> {
        let known = self.callable(organization, &call.function)?;
        let input = call.input.clone();
        let http = call.http.clone();
        let event = event_of(call, false)?;
        let lane = SubscriptionId(known.id);
        let taken_at = event.time().map_or(0, run::nanos);
        let own = NewEvent {
            target: Some(lane),
            ..new(organization, event.clone())
        };
        let group = Group {
            events: vec![new(organization, event), own],
            ..Group::default()
        };
        let placed = self.0.log.append(group).await?.placed.pop();
        let Some(Placed::New(sequence) | Placed::Duplicate(sequence)) = placed else {
            return Err(ApiError::internal("the journal did not say where the call is"));
        };
        let run = Run {
            name: run::name_of(&format!("{sequence}-{lane}")),
            function_name: known.name.to_string(),
            function_id: Some(known.id),
            input: Some(input),
            secrets: known.secrets.clone(),
            http_context: Some(http),
            executed_time: taken_at,
            status: Some(Status::Initialized),
            ..Run::default()
        };
        self.0.ongoing.taken(organization, run.clone());
        Ok(Arc::new(run))
    }

    fn callable(&self, organization: &str, function: &str) -> Result<Arc<Known>, ApiError> {
        let Some(known) = self.0.registry.get(organization, function) else {
            return Err(ApiError::not_found(format!("function {function} not found")));
        };
        match known.state() {
            State::Broken => {
                let message = format!("function {function} is not READY");
                Err(ApiError::unavailable(message, NOT_READY))
            }
            State::Building | State::Ready(_) => Ok(known),
        }
    }
}

fn new(organization: &Arc<str>, event: Event) -> NewEvent {
    NewEvent {
        organization: Arc::clone(organization),
        event,
        target: None,
    }
}

/// The event that is the call.
fn event_of(call: ApiCall, blocking: bool) -> Result<Event, ApiError> {
    let data = ApiData {
        api: call.api.to_string(),
        blocking,
        http_context: call.http,
        input: call.input,
    };
    let json = serde_json::to_vec(&data).map_err(|e| ApiError::bad_request(e.to_string()))?;
    let event = Event::builder(
        Uuid::new_v4().to_string(),
        format!("/dispatch/apis/{}", call.api),
        CALLED,
    )
    .subject(&*call.function)
    .time(Utc::now())
    .json(json)
    .build()?;
    Ok(event)
}
