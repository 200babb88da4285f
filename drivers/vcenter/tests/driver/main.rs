//! The driver's executable against the simulator over TLS, with pyvmomi as the independent witness.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on may panic")]

mod driving;
mod enrichment;
mod faults;
mod history;
mod parts;
mod sessions;
mod settings;
mod trying;
