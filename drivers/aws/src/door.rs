//! The driver's one door: for SNS, and for an EventBridge API destination.

use std::sync::Arc;

use dispatch_driver_sdk::{Acceptor, Arrival, Context, Door, Failure, Limits, Reply, Unread, reply};

use crate::destination::{self, Keys};
use crate::message::Origin;
use crate::subscription::{Subscriptions, TYPE_HEADER};

/// An event of EventBridge has a mebibyte, one of SNS a quarter of that; escaped they are longer.
const MAX_BODY: usize = 4 << 20;

/// Who may send.
#[derive(Debug)]
pub(crate) struct Senders {
    pub(crate) keys: Option<Keys>,
    pub(crate) subscriptions: Option<Subscriptions>,
}

/// Listens until told to stop.
pub(crate) async fn serve(senders: Senders, origin: Origin, context: &Context) -> Result<(), Failure> {
    let (senders, origin) = (Arc::new(senders), Arc::new(origin));
    let door = Door::open(context).await?;
    let acceptor = door.acceptor();
    let limits = Limits {
        body: MAX_BODY,
        // Both senders drop what is answered with a 4xx.
        unread: Unread::Later,
        ..Limits::default()
    };
    door.serve(limits, move |arrival| {
        let (senders, origin, acceptor) = (senders.clone(), origin.clone(), acceptor.clone());
        async move { senders.answer(&origin, &acceptor, &arrival).await }
    })
    .await
}

impl Senders {
    async fn answer(&self, origin: &Origin, acceptor: &Acceptor, arrival: &Arrival) -> Reply {
        if arrival.method != "POST" {
            return reply(405, "POST an event");
        }
        match (&self.subscriptions, &self.keys) {
            (Some(subscriptions), _) if arrival.headers.contains_key(TYPE_HEADER) => {
                subscriptions.answer(origin, acceptor, arrival).await
            }
            (_, Some(keys)) => destination::answer(keys, origin, acceptor, arrival).await,
            (_, None) => reply(
                400,
                format!("the header {TYPE_HEADER} is missing: this is for SNS"),
            ),
        }
    }
}
