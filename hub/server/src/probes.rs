//! How a hub is, asked of the parts themselves: whether its loops turn, and whether it can take events.
//!
//! Nothing is remembered: each question goes through the router's loop and through the thread that writes the
//! journal, and an answer that does not come in time is a problem. An empty group costs no write, but is
//! refused when the disk has failed or the queue is full.

use std::time::Duration;

use dispatch_contract::{AppendError, Group, SubscriptionId};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::hub::Hub;
use crate::stage::Stage;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Check {
    /// What.
    pub(crate) name: &'static str,
    /// Whether it is as it should be.
    pub(crate) ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

impl Check {
    fn new(name: &'static str, result: Result<(), String>) -> Self {
        let reason = result.err();
        Self {
            name,
            ok: reason.is_none(),
            reason,
        }
    }
}

impl Hub {
    /// Whether the loops that everything goes through turn: the router's and the journal's.
    pub(crate) async fn live_checks(&self, within: Duration) -> Vec<Check> {
        let (router, journal) = tokio::join!(self.router_answers(within), self.journal_answers(within));
        // A journal that refuses is alive; it takes events again by itself.
        let journal = journal.map(drop);
        vec![Check::new("router", router), Check::new("journal", journal)]
    }

    /// Whether events can be taken now.
    pub(crate) async fn ready_checks(&self, within: Duration) -> Vec<Check> {
        let (router, journal) = tokio::join!(self.router_answers(within), self.journal_answers(within));
        let journal = journal.and_then(|taken| taken.map_err(|error| error.to_string()));
        vec![
            Check::new("stage", self.takes_events()),
            Check::new("router", router),
            Check::new("journal", journal),
            Check::new("bodies", self.bodies.room()),
        ]
    }

    /// Whether everything is wired.
    pub(crate) fn started_checks(&self) -> Vec<Check> {
        let started = match self.life.stage() {
            Stage::Starting => Err("the hub is starting".to_owned()),
            Stage::Serving | Stage::Leaving => Ok(()),
        };
        vec![Check::new("stage", started)]
    }

    fn takes_events(&self) -> Result<(), String> {
        match self.life.stage() {
            Stage::Starting => Err("the hub is starting".to_owned()),
            Stage::Serving => Ok(()),
            Stage::Leaving => Err("the hub is stopping".to_owned()),
        }
    }

    async fn router_answers(&self, within: Duration) -> Result<(), String> {
        let nobody = SubscriptionId(Uuid::nil());
        match timeout(within, self.router.status(nobody)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(late(within)),
        }
    }

    async fn journal_answers(&self, within: Duration) -> Result<Result<(), AppendError>, String> {
        match timeout(within, self.log.append(Group::default())).await {
            Ok(answer) => Ok(answer.map(drop)),
            Err(_) => Err(late(within)),
        }
    }
}

fn late(within: Duration) -> String {
    format!("did not answer within {} ms", within.as_millis())
}
