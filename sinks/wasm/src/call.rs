//! What the engine asks for: a function to load, then calls of it. Pure.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Which function to load.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Order {
    /// The function's files.
    pub(crate) folder: PathBuf,
    /// The file to run, relative to the folder.
    pub(crate) handler: String,
    /// Bytes a result may have.
    pub(crate) max_result: usize,
}

impl Order {
    pub(crate) fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct First {
            load: Order,
        }
        serde_json::from_slice::<First>(text).map(|first| first.load)
    }
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    /// The function message: context and payload as they came.
    pub(crate) message: Vec<u8>,
    /// Time it has.
    pub(crate) left: Duration,
}

impl Call {
    pub(crate) fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        #[derive(Deserialize)]
        struct Frame<'a> {
            left: u64,
            #[serde(borrow)]
            context: &'a RawValue,
            #[serde(borrow)]
            payload: &'a RawValue,
        }
        let frame: Frame<'_> = serde_json::from_slice(text)?;
        let (context, payload) = (frame.context.get(), frame.payload.get());
        Ok(Self {
            message: format!(r#"{{"context":{context},"payload":{payload}}}"#).into_bytes(),
            left: Duration::from_millis(frame.left),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_gets_context_and_payload_as_they_came_and_not_what_is_meant_for_us() {
        let call = Call::from_json(br#"{"left":1500,"context":{"a":1.50},"payload":[1.000]}"#).unwrap();

        assert_eq!(call.left, Duration::from_millis(1500));
        assert_eq!(call.message, br#"{"context":{"a":1.50},"payload":[1.000]}"#);
        assert!(Call::from_json(br#"{"context":{},"payload":1}"#).is_err());
    }
}
