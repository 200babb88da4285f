//! Turns vCenter's event history into events.
fn main() {}
