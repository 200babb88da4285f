//! Resources as people write and read them: in REST bodies, in YAML files, in the store.
//!
//! One file per resource. A type here is the JSON shape, its OpenAPI schema and its pure checks
//! ([`Resource::check`]); nothing here does I/O or knows how the hub works. Names of fields, kinds and
//! messages are those of Dispatch v0.1.24 and Solo; what is new (`filters`, `sink`, `delivery`, dead
//! letters) follows the CloudEvents Subscriptions API and Knative.
//!
//! A list that was never set is `null` where the original's was (`reason`, `services`, `groups`) and `[]`
//! where it was `[]` (`secrets`, `tags`); both are read everywhere. Read [`resource`] first.

mod absent;
mod api;
mod application;
mod base_image;
mod config_item;
mod containment;
mod dead_letter;
mod delivery;
mod delivery_state;
mod driver;
mod driver_type;
mod duration;
mod emission;
mod event_record;
mod filter;
mod function;
mod image;
mod image_reference;
mod invalid;
mod message;
mod name;
mod pending;
pub mod resource;
mod run;
mod secret;
mod seed;
mod sink;
mod status;
mod subscription;
mod tag;
mod version;

pub use api::{Api, ApiCredentials, ApiRateLimit, AuthKind, Segment, segments};
pub use application::Application;
pub use base_image::BaseImage;
pub use config_item::ConfigItem;
pub use containment::{FunctionLimits, Protections};
pub use dead_letter::{DeadLetter, FailedAttempt};
pub use delivery::{BackoffPolicy, DeadLetterSink, DeliverySettings, Order};
pub use delivery_state::DeliveryState;
pub use driver::{Driver, Supervision};
pub use driver_type::DriverType;
pub use emission::{CLOUD_EVENTS_VERSION, CloudEvent, Emission};
pub use event_record::EventRecord;
pub use filter::Filter;
pub use function::{Function, FunctionScale, FunctionSchema};
pub use image::{Image, ImageLog, RuntimeDependencies, SystemDependencies, SystemPackage};
pub use invalid::Invalid;
pub use message::{Error, Message};
pub use name::{check_name, is_name};
pub use pending::PendingDelivery;
pub use resource::{Resource, Stamp};
pub use run::{LogLines, Run, RunError};
pub use secret::{Secret, SecretText};
pub use seed::SEED_IMAGES;
pub use sink::{SinkMode, SinkSettings};
pub use status::Status;
pub use subscription::{FiltersFrom, Subscription};
pub use tag::Tag;
pub use version::Version;
