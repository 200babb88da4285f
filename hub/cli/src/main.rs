//! The dispatch command: the server and its client.
fn main() {}
