//! Resources and read models behind one interface, [`Store`]: SQLite files in the data folder.
//!
//! Two files, because they have two natures. `resources.db` is the truth about what people created
//! (functions, subscriptions, secrets, …): a change is on the disk before it is answered, and the file is
//! readable by its owner only. `views.db` holds read models fed from the journal (runs, dead letters, event
//! types seen) with the cursor up to which each was fed, in one transaction; it can be dropped and rebuilt.
//!
//! Each file has one thread that owns its connection; calls reach it through a bounded queue, so callers
//! wait and nothing grows. A call whose future is dropped may still take effect.
//!
//! Secrets are encrypted before they are written ([`KeySource`], `sealing`).
//!
//! SQL is written once per noun: `resources`, `sources`, `runs`, `dead_letters`, `event_types`, `cursors`,
//! and the tables in `migrations`. The store does not check resources ([`dispatch_schemas::Resource::check`]
//! does) and knows nothing of how they live.

mod cancelled;
mod copying;
mod cursors;
mod dead_letters;
mod error;
mod event_types;
mod file;
mod master_key;
mod migrations;
mod projection;
mod resources;
mod runs;
mod sealing;
mod sources;
mod store;
mod worker;

pub use copying::copy;
pub use dead_letters::{DeadLetterKey, DeadLetterKeyError, DeadLetterQuery, DeadLetterRow};
pub use error::{KeyError, OpenError, StoreError};
pub use event_types::EventTypeRow;
pub use master_key::KeySource;
pub use projection::{Applied, Projection};
pub use runs::{RunCursor, RunCursorError, RunPage, RunQuery, RunRow};
pub use sealing::Rotated;
pub use store::{Limits, Options, Store};
