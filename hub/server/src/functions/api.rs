//! Calling a function through an API: an event that anybody can subscribe to, and the call itself.
//!
//! When somebody waits, the gateway is the one who delivers: it hands event and run to the journal in order without
//! waiting for the disk, and tries the function's sink once; the caller has the answer before the run is written. So a
//! crash in the middle leaves a caller without an answer, and at most the event of a call whose run was never told; nothing that was answered with a promise is
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

use super::message::{ApiData, CALLED, CalledBy, Request};
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
    pub(crate) http: Box<RawValue>,
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

/// A call whose caller has the answer, and whose run nobody was told of.
pub(crate) struct Untold {
    function: Arc<str>,
    event: Event,
    done: Done,
}

impl Functions {
    /// Calls; whoever waits is to be answered before the rest is told. What the journal refuses is not called.
    pub(crate) async fn call(
        &self,
        organization: &Arc<str>,
        call: ApiCall,
    ) -> Result<(Ended, Option<Untold>), ApiError> {
        let known = self.callable(organization, &call.function)?;
        let patience = call.timeout;
        let event = event_of(&call, true)?;
        self.0.log.note(group(organization, vec![event.clone()])).await?;
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
        // What the event says, without reading it again.
        let request = Request {
            payload: call.input,
            secrets: Vec::new(),
            by: CalledBy::Api {
                blocking: true,
                http: call.http,
            },
        };
        let attempt = sink.attempt(&known, delivery, request);
        let Ok(mut done) = timeout(patience, attempt).await else {
            let ended = Ended {
                run: None,
                failure: Some(InvocationError::Timeout),
            };
            return Ok((ended, None));
        };
        let run = done.run.clone();
        let failure = match (done.failure.take(), &run) {
            (None, None) => Some(InvocationError::Unavailable(format!("{:?}", done.outcome()))),
            (failure, _) => failure,
        };
        let untold = Untold {
            function: Arc::clone(&known.name),
            event,
            done,
        };
        Ok((Ended { run, failure }, Some(untold)))
    }

    /// Hands the journal what the call caused: the event of its run, and those its function returned.
    pub(crate) async fn tell(&self, organization: &Arc<str>, untold: Untold) {
        let Untold {
            function,
            event,
            done,
        } = untold;
        let answer = done.into_answer();
        let caused: Result<Vec<Event>, _> =
            answer.events.iter().map(|caused| stamp(&event, caused)).collect();
        let told = match caused {
            Ok(caused) if caused.is_empty() => Ok(()),
            Ok(caused) => {
                let noted = self.0.log.note(group(organization, caused)).await;
                noted.map_err(|e| e.to_string())
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = told {
            tracing::error!(%function, error, "the run of a call through an API cannot be told");
        }
    }

    /// Takes the call: it is durable when this returns, and its run can be asked for.
    pub(crate) async fn call_later(
        &self,
        organization: &Arc<str>,
        call: ApiCall,
    ) -> Result<Arc<Run>, ApiError> {
        let known = self.callable(organization, &call.function)?;
        let event = event_of(&call, false)?;
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
            input: Some(call.input),
            secrets: known.secrets.clone(),
            http_context: Some(call.http),
            executed_time: taken_at,
            status: Some(Status::Initialized),
            ..Run::default()
        };
        self.0.ongoing.taken(organization, run.clone());
        Ok(Arc::new(run))
    }

    /// What an event targets that is a call of this function.
    pub(crate) fn target(&self, organization: &str, function: &str) -> Result<SubscriptionId, ApiError> {
        let known = self.callable(organization, function)?;
        Ok(SubscriptionId(known.id))
    }

    /// The call of an event, for the function's own lane: as it was but for who waits. `None` when it is no call through
    /// this API.
    pub(crate) fn call_again(
        &self,
        event: &Event,
        api: &str,
        function: &str,
    ) -> Result<Option<Event>, ApiError> {
        if event.ty() != CALLED || event.source() != source_of(api) {
            return Ok(None);
        }
        let data = event.data().map_or(&b"{}"[..], |data| data.bytes);
        let data: ApiData =
            serde_json::from_slice(data).map_err(|error| ApiError::internal(error.to_string()))?;
        let call = ApiCall {
            api: api.into(),
            function: function.into(),
            input: data.input,
            http: data.http_context,
            timeout: Duration::ZERO,
        };
        Ok(Some(stamp(event, &event_of(&call, false)?)?))
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

fn group(organization: &Arc<str>, events: Vec<Event>) -> Group {
    Group {
        events: events.into_iter().map(|event| new(organization, event)).collect(),
        ..Group::default()
    }
}

fn new(organization: &Arc<str>, event: Event) -> NewEvent {
    NewEvent {
        organization: Arc::clone(organization),
        event,
        target: None,
    }
}

/// Source of the calls through an API.
fn source_of(api: &str) -> String {
    format!("/dispatch/apis/{api}")
}

/// The event that is the call.
fn event_of(call: &ApiCall, blocking: bool) -> Result<Event, ApiError> {
    let data = ApiData {
        api: call.api.to_string(),
        blocking,
        http_context: call.http.clone(),
        input: call.input.clone(),
    };
    let json = serde_json::to_vec(&data).map_err(|e| ApiError::bad_request(e.to_string()))?;
    let event = Event::builder(Uuid::new_v4().to_string(), source_of(&call.api), CALLED)
        .subject(&*call.function)
        .time(Utc::now())
        .json(json)
        .build()?;
    Ok(event)
}
