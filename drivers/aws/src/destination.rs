//! The door for an EventBridge API destination: a rule posts its events here, with an API key in a header.
//!
//! EventBridge waits five seconds, repeats after 429 and 5xx for a day, and drops what is answered otherwise. So
//! 2xx is said only when the hub has the event, 503 when it has not, and 4xx only to a stranger and to what can
//! never be an event. The key is looked at before the body.

use dispatch_driver_sdk::{
    Acceptor, Arrival, Context, Door, ExposeSecret as _, Failure, Limits, Reply, SecretString, reply,
};
use sha2::{Digest as _, Sha256};

use crate::message::{Message, Origin};

/// Header of the key unless set.
pub(crate) const KEY_HEADER: &str = "x-api-key";

/// Who may send.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// In lower case.
    pub(crate) header: String,
    /// Any of them will do, so that they can be changed one after the other.
    pub(crate) keys: Vec<SecretString>,
}

impl Keys {
    /// Every key is compared, by digests and in full: the time says nothing about any of them.
    fn admit(&self, given: &str) -> bool {
        let given = Sha256::digest(given);
        let is_same = |key: &SecretString| {
            let key = Sha256::digest(key.expose_secret());
            key.iter().zip(&given).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
        };
        self.keys
            .iter()
            .fold(false, |admitted, key| admitted | is_same(key))
    }
}

/// Listens until told to stop.
pub(crate) async fn serve(keys: Keys, origin: Origin, context: &Context) -> Result<(), Failure> {
    let door = Door::open(context).await?;
    let acceptor = door.acceptor();
    door.serve(Limits::default(), move |arrival| {
        answer(keys.clone(), origin.clone(), acceptor.clone(), arrival)
    })
    .await
}

async fn answer(keys: Keys, origin: Origin, acceptor: Acceptor, arrival: Arrival) -> Reply {
    if !arrival
        .header(&keys.header)
        .is_some_and(|given| keys.admit(given))
    {
        return reply(401, "the API key is missing or wrong");
    }
    if arrival.method != "POST" {
        return reply(405, "POST an event");
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
