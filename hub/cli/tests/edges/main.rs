//! What comes back for each bad request, caller, answer, schema, image, archive and route: a table of each, every row
//! asserted. Asked from outside: the real binary by HTTP, byte for byte where a client would be too polite, and by its
//! command line.
//!
//! More of the same stands where the thing itself is tested: handlers and manifests in `engine/refused.rs`, archives and
//! addresses in `engine/sources.rs`, routes and payloads in `apis/refusals.rs`, tokens in `apis/guards.rs`.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails. The tables are for people.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod answers;
mod archives;
mod bodies;
mod callers;
mod heads;
mod images;
mod raw;
mod resources;
mod routes;
mod schemas;
mod stage;
