//! `--test`: whether AWS lets this driver in, and what it finds there. Nothing is made and no message is taken.

use aws_sdk_sqs::types::QueueAttributeName;
use dispatch_driver_sdk::Failure;

use crate::client::{self, AwsError, Clients};
use crate::config::{Config, Queue, Written};

/// Tries the settings; what was found, for people.
pub async fn test(written: Written) -> Result<String, Failure> {
    let config = Config::try_from(written)?;
    let mut found = String::new();
    if config.senders.is_some() {
        found += "what SNS and API destinations send is taken at the driver's url\n";
    }
    if let Some(place) = &config.queue {
        let clients = client::connect(&config).await?;
        let seen = match place {
            Queue::Given(url) => queue(&clients, url).await,
            Queue::Made(wanted) => rules(&clients, wanted.bus.as_deref()).await,
        };
        found += &seen.map_err(Failure::failed)?;
    }
    Ok(found)
}

async fn queue(clients: &Clients, url: &str) -> Result<String, AwsError> {
    let answer = clients
        .sqs
        .get_queue_attributes()
        .queue_url(url)
        .attribute_names(QueueAttributeName::QueueArn)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .send()
        .await
        .map_err(AwsError::of("read the queue's attributes"))?;
    let attributes = answer.attributes.unwrap_or_default();
    let say = |name| attributes.get(&name).map_or("?", String::as_str);
    let arn = say(QueueAttributeName::QueueArn);
    Ok(match say(QueueAttributeName::ApproximateNumberOfMessages) {
        "1" => format!("{arn}: 1 message waits\n"),
        count => format!("{arn}: {count} messages wait\n"),
    })
}

async fn rules(clients: &Clients, bus: Option<&str>) -> Result<String, AwsError> {
    let request = clients.eventbridge.list_rules().limit(1);
    let answer = request.set_event_bus_name(bus.map(str::to_owned)).send().await;
    answer.map_err(AwsError::of("list the rules of the bus"))?;
    Ok("EventBridge answers; queue and rules are made at the first start\n".to_owned())
}
