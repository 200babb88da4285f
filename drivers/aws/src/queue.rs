//! A queue: receive, keep invisible, give back, delete.

use std::time::Duration;

use aws_sdk_sqs::Client;
use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message,
    MessageSystemAttributeName, QueueAttributeName,
};
use futures_util::FutureExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::client::AwsError;

/// The most messages of one request.
pub(crate) const MOST_MESSAGES: usize = 10;
/// The longest poll there is.
const LONG_POLL: Duration = Duration::from_secs(20);
/// AWS shows a message again 12 hours after it was received, whatever one does.
const LONGEST_HOLD: Duration = Duration::from_secs(11 * 3600 + 55 * 60);
/// How often a message is tried to be deleted before it is left to come again.
const DELETE_ATTEMPTS: u32 = 3;

/// A queue that is there.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    client: Client,
    url: String,
    arn: String,
    visibility: Duration,
}

impl Queue {
    /// The queue at this URL; asks for its ARN.
    pub(crate) async fn open(client: Client, url: String, visibility: Duration) -> Result<Self, AwsError> {
        let failed = AwsError::of("read the queue's attributes");
        let answer = client
            .get_queue_attributes()
            .queue_url(&url)
            .attribute_names(QueueAttributeName::QueueArn)
            .send()
            .await
            .map_err(failed)?;
        let arn = answer
            .attributes()
            .and_then(|a| a.get(&QueueAttributeName::QueueArn));
        let arn = arn
            .cloned()
            .ok_or_else(|| AwsError::new("read the queue's attributes", "it has no ARN"))?;
        Ok(Self {
            client,
            url,
            arn,
            visibility,
        })
    }

    /// `arn:aws:sqs:REGION:ACCOUNT:NAME`.
    pub(crate) fn arn(&self) -> &str {
        &self.arn
    }
    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// At most ten messages, which nobody else sees for a while. Waits up to 20 s for the first.
    pub(crate) async fn receive(&self) -> Result<Vec<Message>, AwsError> {
        let answer = self
            .client
            .receive_message()
            .queue_url(&self.url)
            .max_number_of_messages(MOST_MESSAGES as i32)
            .wait_time_seconds(LONG_POLL.as_secs() as i32)
            .visibility_timeout(self.visibility.as_secs() as i32)
            .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
            .send()
            .await
            .map_err(AwsError::of("receive messages"))?;
        Ok(answer.messages.unwrap_or_default())
    }

    /// Does something while nobody else sees the messages, however long it takes: their time is extended every third
    /// of it, so that two extensions may fail.
    pub(crate) async fn holding<F: Future>(&self, messages: &[Message], work: F) -> F::Output {
        let began = Instant::now();
        let third = self.visibility / 3;
        let mut ticks = interval_at(began + third, third);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                _ = ticks.tick() => {}
            }
            if began.elapsed() >= LONGEST_HOLD {
                tracing::warn!("AWS lets messages be held for 12 hours only: these will be read again");
                return work.await;
            }
            // The work goes on meanwhile, and may end first.
            let extend = self.show_after(messages, self.visibility).map(|extended| {
                if let Err(error) = extended {
                    tracing::warn!("messages may be read again: {error}");
                }
            });
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = extend => {}
            }
        }
    }

    /// Gives the messages back: the next who asks gets them.
    pub(crate) async fn give_back(&self, messages: &[Message]) -> Result<(), AwsError> {
        self.show_after(messages, Duration::ZERO).await
    }

    async fn show_after(&self, messages: &[Message], time: Duration) -> Result<(), AwsError> {
        let what = "change when messages are seen again";
        let mut request = self.client.change_message_visibility_batch().queue_url(&self.url);
        for (position, message) in messages.iter().enumerate() {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(position.to_string())
                .receipt_handle(message.receipt_handle().unwrap_or_default())
                .visibility_timeout(time.as_secs() as i32)
                .build()
                .map_err(|e| AwsError::new(what, e.to_string()))?;
            request = request.entries(entry);
        }
        let answer = request.send().await.map_err(AwsError::of(what))?;
        match answer.failed().first() {
            Some(failed) => Err(AwsError::new(what, failed.message().unwrap_or(failed.code()))),
            None => Ok(()),
        }
    }

    /// Deletes the messages for good. What cannot be deleted is logged: it comes again, and the hub knows it.
    pub(crate) async fn delete(&self, messages: &[&Message]) {
        let mut left: Vec<&Message> = messages.to_vec();
        for attempt in 1..=DELETE_ATTEMPTS {
            match self.delete_once(&left).await {
                Ok(failed) if failed.is_empty() => return,
                Ok(failed) => left = failed,
                Err(error) if attempt == DELETE_ATTEMPTS => {
                    tracing::warn!("messages will come again: {error}");
                    return;
                }
                Err(_) => {}
            }
        }
        tracing::warn!("{} messages could not be deleted and will come again", left.len());
    }

    /// Those that were not deleted.
    async fn delete_once<'a>(&self, messages: &[&'a Message]) -> Result<Vec<&'a Message>, AwsError> {
        let what = "delete messages";
        let mut request = self.client.delete_message_batch().queue_url(&self.url);
        for (position, message) in messages.iter().enumerate() {
            let entry = DeleteMessageBatchRequestEntry::builder()
                .id(position.to_string())
                .receipt_handle(message.receipt_handle().unwrap_or_default())
                .build()
                .map_err(|e| AwsError::new(what, e.to_string()))?;
            request = request.entries(entry);
        }
        let answer = request.send().await.map_err(AwsError::of(what))?;
        let position = |id: &str| id.parse::<usize>().ok();
        let failed = answer.failed().iter().filter_map(|failed| position(failed.id()));
        Ok(failed
            .filter_map(|position| messages.get(position).copied())
            .collect())
    }
}
