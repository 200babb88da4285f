//! What passes between the rooms of the hub: events, deliveries, outcomes, the log.
//!
//! This crate exists so that the journal, the router, the server and every sink can change without one
//! another. It has no I/O and knows no other crate of the workspace. Read [`event`] first, then [`log`]
//! (how an event becomes durable) and [`sink`] (how it leaves again).

mod delivery;
mod encoding;
mod event;
mod faas;
mod headers;
mod json;
mod log;
mod sdk;
mod sink;

pub use delivery::{BackoffPolicy, DeliverySpec, DurationError, parse_duration};
pub use event::{
    Attribute, AttributeName, Data, DataKind, Event, EventBuilder, EventError, MAX_ATTRIBUTE_BYTES,
    MAX_ATTRIBUTES, RESERVED_TYPE_PREFIX, Value, ext,
};
pub use faas::{
    Faas, FaasError, FunctionError, FunctionErrorKind, FunctionSpec, Invocation, InvocationError,
    InvocationResult, Logs, Runtime, RuntimeState, SourceFile,
};
pub use headers::{CE_PREFIX, is_binary_mode};
pub use json::{BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE, is_json_media_type};
pub use log::{
    AppendError, Appended, Attempt, Checkpoint, Committed, Entry, Group, Log, NewEvent, Page, Placed,
    ReadError, Record, Sequence, Settled, Settlement, SubscriptionId, Tail, Through,
};
pub use secrecy::{ExposeSecret, SecretString};
pub use sink::{Answer, Delivery, Outcome, Sink};
