//! What the command line sends and prints, against a hub that only pretends.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod files;
mod hub;
mod journal;
mod messages;
mod runs;
mod settings;
mod tables;
