//! Images and functions of every runtime, from outside: the real binary, its command line, the real languages.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod bench;
mod by_api;
mod examples;
mod hosted;
mod images;
mod killed;
mod languages;
mod refused;
mod sources;
mod wasm;
