//! Functions as local processes: the embedded engine behind [`dispatch_contract::Faas`].
//!
//! Every revision of a function has a pool of warm workers, processes that loaded the function once and are
//! called over a Unix-domain socket, one call at a time. A worker's standard output and standard error are
//! the function's logs: it flushes before it answers, so what is in the pipes then belongs to that call.
//!
//! Invariants: a worker leads a process group of its own, and whatever ends the worker (a timeout, a crash, a
//! cancelled call, [`Process::stop`], a drop, the end of the hub itself) kills the whole group; secrets travel in the frame of a call only,
//! never in the environment or the arguments; every queue, frame, log and wait has a bound (see [`Settings`]).
//!
//! Not here: retry, runs, schemas, HTTP. Read `pool.rs` for who gets the next call and `worker.rs` for the life of a
//! process.

mod build_log;
mod confinement;
mod engine;
mod group;
mod install;
mod launch;
mod logs;
mod message;
mod notes;
mod pool;
mod runtime;
mod settings;
mod source;
mod tail;
mod tool;
mod wire;
mod worker;

pub use build_log::BuildLog;
pub use confinement::Confinement;
pub use engine::Process;
pub use install::{InstallError, Installer};
pub use runtime::single_file;
pub use settings::{Limits, Settings};
pub use source::{MAX_ARCHIVE, MAX_UNPACKED, SourceError, read_source};
