//! What every driver promises, as checks that run on any executable.
//!
//! A [`DriverHub`] plays the hub: it takes events, refuses them, keeps silent, goes away and comes back. A [`World`]
//! plays everything on the driver's other side: how to start it, how to make events happen upstream. [`check`] runs
//! the program between the two and gives a [`Finding`] for each promise. `dispatch driver check` prints them, and a
//! test runs them on every driver of this workspace. Nothing here knows how a driver is made: only what a program
//! gets and what it sends. Read `checks.rs` next.

mod bench;
mod checks;
mod commands;
mod hub;
mod program;
mod receive;
mod senders;
mod world;

pub use checks::{Finding, Verdict, check, check_only, names};
pub use commands::Commands;
pub use hub::{Arrived, Attempt, DriverHub, Mood};
pub use program::{Program, Running};
pub use senders::{Answer, Senders};
pub use world::{Upstream, World};

use std::time::{Duration, Instant};

/// How often a condition is asked for again.
const POLL: Duration = Duration::from_millis(20);

/// Asks until it holds; false when it did not in time.
async fn soon(within: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    while !holds() {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(POLL).await;
    }
    true
}
