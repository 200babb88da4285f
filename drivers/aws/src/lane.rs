//! One round: receive messages, hand their events to the hub, delete them. Nothing else deletes a message.

use chrono::DateTime;
use dispatch_contract::Event;
use dispatch_driver_sdk::{Broken, Context};

use aws_sdk_sqs::types::{Message as Received, MessageSystemAttributeName};

use crate::client::AwsError;
use crate::message::{Message, Origin};
use crate::queue::Queue;

/// Where a round reads and where it writes.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) queue: Queue,
    pub(crate) origin: Origin,
    pub(crate) context: Context,
}

impl Lane {
    /// Says how many messages there were; none is nothing within 20 seconds.
    pub(crate) async fn round(self) -> Result<usize, Broken<AwsError>> {
        let Context { hub, stop } = &self.context;
        let received = stop.unless(self.queue.receive()).await?;
        let received = received.map_err(|error| Broken::Upstream { error, after: None })?;
        if received.is_empty() {
            return Ok(0);
        }
        let Made {
            events,
            owners,
            mut is_done,
        } = self.made(&received);
        let emit = hub.emit_or_skip(events, None, stop);
        let emitted = match self.queue.holding(&received, emit).await {
            Ok(emitted) => emitted,
            Err(error) => {
                if let Err(error) = self.queue.give_back(&received).await {
                    tracing::debug!("messages are seen again only later: {error}");
                }
                return Err(error.into());
            }
        };
        for refusal in &emitted.refused {
            is_done[owners[refusal.position]] = false;
        }
        for (message, _) in received.iter().zip(&is_done).filter(|(_, done)| !**done) {
            let id = message.message_id().unwrap_or_default();
            tracing::warn!(
                message = id,
                "left in the queue, whose redrive policy decides what becomes of it"
            );
        }
        let done: Vec<&Received> = received
            .iter()
            .zip(&is_done)
            .filter(|(_, done)| **done)
            .map(|(m, _)| m)
            .collect();
        if !done.is_empty() {
            self.queue.delete(&done).await;
        }
        Ok(received.len())
    }
    fn made(&self, received: &[Received]) -> Made {
        let mut all = Made {
            events: Vec::new(),
            owners: Vec::new(),
            is_done: vec![true; received.len()],
        };
        for (position, message) in received.iter().enumerate() {
            match self.origin.events(read(message)) {
                Ok(events) => {
                    all.owners.extend(std::iter::repeat_n(position, events.len()));
                    all.events.extend(events);
                }
                Err(error) => {
                    tracing::error!("no event can be made of a message: {error}");
                    all.is_done[position] = false;
                }
            }
        }
        all
    }
}

/// The events of some messages.
struct Made {
    /// All, in order.
    events: Vec<Event>,
    /// For each of them the position of the message it came from.
    owners: Vec<usize>,
    /// For each message whether it may be deleted when the hub has the events.
    is_done: Vec<bool>,
}

fn read(message: &Received) -> Message<'_> {
    let sent = message
        .attributes()
        .and_then(|a| a.get(&MessageSystemAttributeName::SentTimestamp));
    Message {
        id: message.message_id().unwrap_or_default(),
        body: message.body().unwrap_or_default(),
        sent: sent.and_then(|millis| DateTime::from_timestamp_millis(millis.parse().ok()?)),
    }
}
