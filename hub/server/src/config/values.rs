//! Values that are more than text or a number. What is wrong with one is found while it is read, not after: only
//! then does the message name its key and its line.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Visitor};
use serde::{Deserializer, Serializer};

/// `PT0.2S`, `30s`, `1h`.
pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration such as 30s or PT1M")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            dispatch_contract::parse_duration(text).map_err(E::custom)
        }
    }
    deserializer.deserialize_str(Read)
}

/// How durations are compared: as seconds.
pub(super) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// A number that is not 0.
pub(super) fn at_least_one<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = usize;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of at least 1")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<usize, E> {
            match usize::try_from(number) {
                Ok(1..) => Ok(number as usize),
                _ => Err(E::invalid_value(serde::de::Unexpected::Unsigned(number), &self)),
            }
        }
    }
    deserializer.deserialize_u64(Read)
}

/// What the log tells: `dispatch_router=debug,info`.
pub(super) fn directives<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    struct Read;
    impl Visitor<'_> for Read {
        type Value = Option<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a filter of the log such as info or dispatch_router=debug,info")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Option<String>, E> {
            match crate::logs::check(text) {
                Ok(()) => Ok(Some(text.to_owned())),
                Err(problem) => Err(E::custom(problem)),
            }
        }
    }
    deserializer.deserialize_str(Read)
}
