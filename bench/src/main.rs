//! The load generator and the whole-pipeline cases.
fn main() {}
