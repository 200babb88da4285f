//! The durable log on this machine: append, read, settle, checkpoint, retention.
