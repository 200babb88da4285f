//! The other side of a driver: how it is started, and how to make things happen upstream.

use anyhow::Result;

use crate::hub::DriverHub;
use crate::program::Program;

/// What a driver is checked in. One is made per run of the suite.
///
/// Senders that push to a driver repeat until the driver says yes, as real ones do: [`happen`](World::happen) then
/// leaves them behind ([`Senders`](crate::Senders)), and does not wait for them.
pub trait World: Send {
    /// The driver as it is started each time.
    fn program(&self) -> Program;

    /// Called after each start: waits until the driver sees what happens from now on, if there is a way to know.
    fn started(&mut self, _hub: &DriverHub) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Makes `count` events happen upstream. `false`: they come by themselves, as from a clock.
    fn happen(&mut self, count: usize, hub: &DriverHub) -> impl Future<Output = Result<bool>> + Send;

    /// Makes something happen that the driver cannot turn into an event. `false`: there is no such thing.
    fn malformed(&mut self, _hub: &DriverHub) -> impl Future<Output = Result<bool>> + Send {
        async { Ok(false) }
    }

    /// What upstream heard of the driver so far. `None`: it hears nothing, for instance because it is a file.
    fn upstream(&mut self) -> impl Future<Output = Result<Option<Upstream>>> + Send {
        async { Ok(None) }
    }
}

/// What upstream heard of a driver.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    /// How much of what happened is not acknowledged yet.
    pub waiting: usize,
    /// How often somebody was told to come again later; `None` where nobody is told anything.
    pub told_later: Option<usize>,
    /// An answer that makes a real sender give up, since this was asked last.
    pub complaint: Option<String>,
}
