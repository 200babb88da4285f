//! Turns the clock into events.
