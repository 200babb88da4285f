//! What passes between the rooms of the hub: events, deliveries, outcomes, the log.
//!
//! This crate exists so that the journal, the router, the server and every sink can change without one
//! another. It has no I/O and knows no other crate of the workspace. Read [`Event`] first, then [`Log`]
//! (how an event becomes durable) and [`Sink`] (how it leaves again).

mod attribute;
mod builder;
mod delivery;
mod encoding;
mod event;
mod faas;
mod headers;
mod json;
mod log;
mod sdk;
mod sink;

pub use attribute::{Attribute, AttributeName, MAX_ATTRIBUTE_BYTES, MAX_ATTRIBUTES, Value};
pub use builder::EventBuilder;
pub use delivery::{BackoffPolicy, DeliverySpec, DurationError, Order, Rate, parse_duration};
pub use event::{Data, DataKind, Event, EventError, RESERVED_TYPE_PREFIX, ext};
pub use faas::{
    Bounds, Faas, FaasError, FunctionError, FunctionErrorKind, FunctionSpec, Invocation, InvocationError,
    InvocationResult, Logs, Runtime, RuntimeState, Scale, SourceFile,
};
pub use headers::{CE_PREFIX, is_binary_mode, retry_after};
pub use json::{BATCH_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE, is_json_media_type};
pub use log::{
    AppendError, Appended, Attempt, Checkpoint, Committed, Entry, Group, Log, NewEvent, Page, Placed,
    Progress, ReadError, Record, Sequence, Settled, Settlement, SubscriptionId, Tail, Through,
};
pub use secrecy::{ExposeSecret, SecretString};
pub use sink::{Answer, Delivery, Outcome, Sink};
