//! An event that a lane owes: how far it is, and to whom it goes.

use std::time::Duration;

use dispatch_contract::{Attempt, Committed, Event, NewEvent};

use crate::keys::Key;
use crate::machine::Ticket;

/// An event that is not settled yet.
pub(crate) struct Owed {
    pub(crate) committed: Committed,
    pub(crate) attempts: u32,
    pub(crate) failures: Vec<Attempt>,
    pub(crate) stage: Stage,
    pub(crate) state: State,
    /// Its line, if it keeps order.
    pub(crate) key: Option<Key>,
    pub(super) number: u64,
    pub(super) bytes: usize,
}

/// Whom it is for.
pub(crate) enum Stage {
    /// The subscription's sink.
    Sink,
    /// The dead letter sink; the delivery itself has failed.
    DeadLetter(Box<Burial>),
}

/// What remains of a failed delivery while its dead letter sink is tried.
pub(crate) struct Burial {
    pub(crate) event: Event,
    pub(crate) attempts: u32,
    /// What the last attempt of the delivery caused.
    pub(crate) caused: Vec<NewEvent>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Queued,
    Waiting(Duration),
    InFlight(Ticket),
    /// An earlier event of its key comes first.
    Behind,
}
