//! Calling a function by name: an event for the function's own subscription, so that the call is a run like
//! any other and survives a crash.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use dispatch_contract::{Event, Group, NewEvent, Placed, SubscriptionId};
use dispatch_schemas::{Function, Run, Status};
use dispatch_store::StoreError;
use tokio::time::timeout;
use uuid::Uuid;

use super::message::{EXEC, ExecData};
use super::{Functions, run};
use crate::rest::error::ApiError;

/// How long a call that waits is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// How a call was taken.
#[derive(Debug, Clone)]
pub(crate) enum Exec {
    /// It has ended, well or not.
    Ended(Arc<Run>),
    /// It is durable and will run.
    Taken(Arc<Run>),
}

impl Functions {
    /// Calls a function with what `asked` says: `input`, `secrets`, `blocking`, `tags`.
    pub(crate) async fn exec(
        &self,
        organization: &Arc<str>,
        name: &str,
        asked: Run,
    ) -> Result<Exec, ApiError> {
        self.exec_as(organization, name, ExecData::of(asked)).await
    }

    /// The same with all that a call can say.
    pub(super) async fn exec_as(
        &self,
        organization: &Arc<str>,
        name: &str,
        asked: ExecData,
    ) -> Result<Exec, ApiError> {
        let inner = &self.0;
        let function = self.callee(organization, name).await?;
        let data = asked;
        let event = call(name, &data, inner.limits.load().event_bytes)?;
        let waiting = data.blocking.then(|| inner.ongoing.wait_for(event.id()));
        let lane = SubscriptionId(function.id);
        let taken_at = event.time().map_or(0, run::nanos);
        let group = Group {
            events: vec![NewEvent {
                organization: Arc::clone(organization),
                event,
                target: Some(lane),
            }],
            ..Group::default()
        };
        let placed = inner.log.append(group).await?.placed.pop();
        let Some(Placed::New(sequence) | Placed::Duplicate(sequence)) = placed else {
            return Err(ApiError::internal("the journal did not say where the call is"));
        };
        let run = Run {
            name: run::name_of(&format!("{sequence}-{lane}")),
            function_name: name.to_owned(),
            function_id: Some(function.id),
            faas_id: function.revision,
            blocking: data.blocking,
            input: data.input,
            secrets: function.secrets.into_iter().chain(data.secrets).collect(),
            executed_time: taken_at,
            status: Some(Status::Initialized),
            tags: data.tags,
            rerun_of: data.again.as_ref().map(|again| again.run),
            event: data.again.as_ref().and_then(|again| again.event.clone()),
            http_context: data.again.and_then(|again| again.http_context),
            ..Run::default()
        };
        inner.ongoing.taken(organization, run.clone());
        if let Some(waiting) = waiting {
            let ended = tokio::select! {
                ended = timeout(PATIENCE, waiting) => ended.ok().and_then(Result::ok),
                () = inner.shutdown.cancelled() => None,
            };
            if let Some(run) = ended {
                return Ok(Exec::Ended(run));
            }
        }
        let seen = inner.ongoing.get(organization, run.name);
        Ok(Exec::Taken(seen.unwrap_or_else(|| Arc::new(run))))
    }

    /// The function of that name, if it can be called now or soon.
    async fn callee(&self, organization: &str, name: &str) -> Result<Callee, ApiError> {
        let known = self.0.registry.get(organization, name);
        // Nearly always it is READY, and what is known of it says all: the store is not asked.
        if let Some(known) = &known
            && let Some(revision) = known.ready()
        {
            return Ok(Callee {
                id: known.id,
                revision: Some(revision),
                secrets: known.secrets.clone(),
            });
        }
        let function = match self.0.store.get::<Function>(organization, name).await {
            Err(StoreError::NotFound { .. }) => {
                return Err(ApiError::not_found(format!("function {name} not found")));
            }
            found => found?,
        };
        // One that is being built is called as soon as it is READY; one in ERROR never would be.
        let will_be_ready = !matches!(function.status, None | Some(Status::Error | Status::Deleting));
        if !will_be_ready || known.is_none_or(|known| known.id != function.id) {
            return Err(ApiError::conflict(format!("function {name} is not READY")));
        }
        Ok(Callee {
            id: function.id,
            revision: function.faas_id,
            secrets: function.secrets,
        })
    }
}

/// What a call has to know of its function.
struct Callee {
    id: Uuid,
    revision: Option<Uuid>,
    /// Names of its secrets.
    secrets: Vec<String>,
}

/// The event that is the call.
fn call(function: &str, asked: &ExecData, max_input: usize) -> Result<Event, ApiError> {
    let size = asked.input.as_ref().map_or(0, |input| input.get().len());
    if size > max_input {
        let message = format!("input: has {size} bytes; at most {max_input} are taken");
        return Err(ApiError::too_large(message));
    }
    let json = serde_json::to_vec(asked).map_err(|e| ApiError::bad_request(format!("Bad Request: {e}")))?;
    let event = Event::builder(Uuid::new_v4().to_string(), run::source_of(function), EXEC)
        .subject(function)
        .time(Utc::now())
        .json(json)
        .build()?;
    Ok(event)
}
