//! Doors through the whole: drivers that listen are made with the CLI, senders reach them at the `url` that the CLI shows,
//! on the gateway's port of the real hub, and what is good arrives at a subscription's sink as the event it is.
//!
//! Each test prints its table of answers. What a driver says to a sender in every case is tested with the driver; here the
//! way there and onward counts: that the gateway changes nothing a signature covers, passes answers back as they are, and
//! keeps nothing of what is too large.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod clouds;
mod stage;
mod webhooks;
