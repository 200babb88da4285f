//! The life of one worker: started, loaded, called again and again, ended with its process group.

mod once;
mod process;
mod warm;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dispatch_contract::{Invocation, InvocationError, Logs};
use tokio::time::Instant;

pub(crate) use self::process::{Driven, Output};
pub(crate) use self::warm::Warm;
use crate::launch::Launch;
use crate::wire::Speech;

/// A worker, as its pool sees it.
pub(crate) enum Worker {
    /// A process that loaded the function.
    Warm(Box<Warm>),
    /// A process for each call.
    Once(Arc<Launch>),
}

/// Why a worker did not start.
#[derive(Debug, Clone)]
pub(crate) enum StartError {
    /// The function cannot be loaded, now or ever.
    Invalid(String),
    /// The machine could not start the process.
    Unavailable(String),
}

impl StartError {
    /// The author of the function must change something.
    pub(crate) fn invalid(why: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("Invalid function file or handler: {why}"))
    }
}

/// How a call ended.
pub(crate) struct Called {
    pub(crate) result: Result<Bytes, InvocationError>,
    pub(crate) logs: Logs,
    /// Whether the worker takes another call, if it is tidy.
    pub(crate) usable: bool,
}

impl Worker {
    /// Starts a worker and has it load the function.
    pub(crate) async fn start(launch: &Arc<Launch>, patience: Duration) -> Result<Self, StartError> {
        match launch.plan.speech {
            Speech::Once => Ok(Self::Once(Arc::clone(launch))),
            _ => Ok(Self::Warm(Box::new(Warm::start(launch, patience).await?))),
        }
    }

    /// Calls the function once. Everything it started is dead when this returns a worker that is not usable.
    pub(crate) async fn call(&mut self, invocation: &Invocation, deadline: Instant) -> Called {
        match self {
            Self::Warm(worker) => worker.call(invocation, deadline).await,
            Self::Once(launch) => once::call(launch, invocation, deadline).await,
        }
    }

    /// Whether the last call left nothing running; if it did, everything is dead now, and so is the worker. To be asked
    /// before the next call, and after whoever called was told: counting takes its time.
    pub(crate) fn is_tidy(&mut self) -> bool {
        match self {
            Self::Warm(worker) => worker.is_tidy(),
            Self::Once(_) => true,
        }
    }

    /// Resolves when the worker ends by itself. Cancel safe.
    pub(crate) async fn watch(&mut self) {
        match self {
            Self::Warm(worker) => worker.watch().await,
            Self::Once(_) => std::future::pending().await,
        }
    }

    /// Kills what is left of it and waits until that is gone.
    pub(crate) async fn end(self) {
        if let Self::Warm(worker) = self {
            worker.end().await;
        }
    }
}
