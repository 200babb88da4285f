//! Turns the clock into events.
fn main() {}
