//! An EventBridge API destination: a rule posts its events here, with an API key in a header.
//!
//! EventBridge waits five seconds, repeats after 429 and 5xx for a day, and drops what is answered otherwise. So
//! 2xx is said only when the hub has the event, and else 503, also to a wrong key: keys are changed on two sides, and
//! the order is easily mistaken. The key is looked at before the body.

use dispatch_driver_sdk::{Acceptor, Arrival, Reply, later, reply};
use sha2::{Digest as _, Sha256};

use crate::message::{Message, Origin};
use crate::secret::Secrets;

/// Header of the key unless set.
pub(crate) const KEY_HEADER: &str = "x-api-key";

/// Who may send.
#[derive(Debug)]
pub(crate) struct Keys {
    /// In lower case.
    pub(crate) header: String,
    pub(crate) keys: Secrets,
}

/// Answers a POST.
pub(crate) async fn answer(keys: &Keys, origin: &Origin, acceptor: &Acceptor, arrival: &Arrival) -> Reply {
    if !arrival
        .header(&keys.header)
        .is_some_and(|given| keys.keys.admit(given))
    {
        tracing::warn!("a request is told to come again: the API key is missing or wrong");
        return later("the API key is missing or wrong");
    }
    // EventBridge sends JSON; what else there is, is kept as it can be.
    let body = &*String::from_utf8_lossy(&arrival.body);
    // What is no known event gets the same id whenever it is sent again.
    let digest = Sha256::digest(body);
    let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let message = Message {
        id: &id,
        body,
        sent: None,
    };
    let events = match origin.events(message) {
        Ok(events) => events,
        Err(error) => return later(error.to_string()),
    };
    match acceptor.accept_or_skip(events).await {
        Ok(emitted) if emitted.refused.is_empty() => reply(202, ""),
        Ok(_) => later("the hub refuses some of the events"),
        Err(_) => later("the hub does not take the events now"),
    }
}
