//! The dispatch command: the server and its client.
