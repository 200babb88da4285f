//! The router: from the log to every sink that wants an event, at least once.
//!
//! Two layers. [`Machine`] decides everything and does nothing: it is told what was committed, how attempts
//! ended and what time it is, and answers with [`Effect`]s. [`Router`] is the loop around it: it follows the
//! log, runs the attempts, writes the settlements. So all rules are tested without a clock or a socket.
//!
//! Invariants: an event is settled once per subscription and life; a crash repeats and never loses; what a
//! lane holds, what is under way and what waits to be written are bounded by [`Limits`].
//!
//! It knows no protocol, no file and no metrics: sinks deliver, the log keeps, an [`Observer`] counts. Read
//! `machine.rs` next, then `lane.rs`.

mod attempt;
mod breaker;
mod bucket;
mod caused;
mod concurrency;
mod crew;
mod filter;
mod gate;
mod index;
mod keys;
mod lane;
mod lanes;
mod limits;
mod machine;
mod observer;
mod outbox;
mod queue;
mod retry;
mod router;
mod status;
mod subscription;
mod turns;

pub use breaker::BreakerState;
pub use caused::stamp;
pub use filter::{Filter, FilterError};
pub use index::Index;
pub use limits::{Limits, Quotas};
pub use machine::{Effect, Machine, Moment, Ticket};
pub use observer::{DeliveryInfo, Observer, Silent};
pub use router::{Router, start, start_seeded};
pub use status::{Drained, LaneStatus, PendingDelivery, Waits};
pub use subscription::{FilterVersion, Subscription};
