//! An EventBridge API destination: a rule posts its events here, with an API key in a header.
//!
//! EventBridge waits five seconds, repeats after 429 and 5xx for a day, and drops what is answered otherwise. So
//! 2xx is said only when the hub has the event, 503 when it has not, and 4xx only to a stranger and to what can
//! never be an event. The key is looked at before the body.

use dispatch_driver_sdk::{Acceptor, Arrival, Reply, reply};
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
        return reply(401, "the API key is missing or wrong");
    }
    let Ok(body) = std::str::from_utf8(&arrival.body) else {
        return reply(400, "the body is not UTF-8");
    };
    // What is no known event gets the same id whenever it is sent again.
    let digest = Sha256::digest(body);
    let id: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let message = Message {
        id: &id,
        body,
        sent: None,
    };
    match origin.events(message) {
        Ok(events) => match acceptor.accept(events).await {
            Ok(_) => reply(202, ""),
            Err(not) => not.reply(),
        },
        Err(error) => reply(400, error.to_string()),
    }
}
