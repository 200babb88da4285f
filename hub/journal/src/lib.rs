//! The durable log on this machine: append, read, settle, checkpoint, retention.
//!
//! Everything the hub promises rests on this: what was acknowledged is on the disk, a group is there whole or not at
//! all, and what cannot be read any more is named and not passed over. One thread writes; many producers share
//! one sync. The format, byte by byte, is in `docs/journal.md`.
//!
//! Read [`Journal`] first, then `committer.rs` (how a group becomes durable), `recover.rs` (what opening does) and
//! `walk.rs` (what counts as damage). No sockets, no clock of its own beyond the arrival stamp, no knowledge of
//! who owes what: that is the router's, told by [`Journal::set_floor`]. A simulation drives it without threads
//! ([`Journal::open_manual`]).

mod active;
mod aging;
mod batch;
mod chain;
pub mod clock;
mod committer;
mod copying;
mod damage;
pub mod disk;
mod ending;
mod error;
mod folder;
mod frame;
mod header;
mod held;
mod identities;
mod index;
mod inspect;
mod journal;
mod kept;
mod ledger;
mod links;
mod lock;
mod manual;
mod meters;
mod opening;
mod options;
mod patience;
mod queue;
mod reading;
mod recent;
mod record;
mod recover;
mod retention;
mod scan;
mod segment;
mod tail;
mod upkeep;
mod view;
mod walk;

pub use chain::{Link, LinkError};
pub use copying::{Copied, copy};
pub use damage::{Damage, DamageKind, Torn};
pub use error::OpenError;
pub use inspect::{Located, Report, SegmentReport, dump, verify, verify_against};
pub use journal::{Journal, Stats};
pub use links::{Anchor, Chain};
pub use manual::{Next, Work};
pub use options::Options;
pub use recover::Recovered;
