//! Turns what happens in AWS into events: what EventBridge, S3 and SNS put into an SQS queue, and anything else there.
//!
//! The queue keeps a message until it is told to delete it, so the queue is the checkpoint: a message is deleted
//! only after the hub has its events on disk (`lane`), and until then it is kept invisible for other readers
//! (`queue`). The same message always becomes the same events with the same ids (`message`), so what is read twice
//! is known to the hub. Whatever ends this driver costs a repetition and never an event.
//!
//! A queue and its rules are made here unless one is given (`rules`). `driver` reads it.
//! SNS over HTTPS (`subscription`) and an EventBridge API destination (`destination`) come to a door (`door`).

mod certificate;
mod client;
mod config;
mod destination;
mod door;
mod driver;
mod eventbridge;
mod lane;
mod message;
mod queue;
mod rules;
mod s3;
mod secret;
mod signature;
mod sns;
mod subscription;
mod topic;
mod trial;

use dispatch_driver_sdk::{About, Context, Failure, Health};

pub use crate::config::{Config, Mode, Written};
pub use crate::trial::test;

/// What this driver is.
pub const ABOUT: About = About {
    name: "aws",
    summary: "Turns what happens in AWS into events.",
    keys: config::KEYS,
};

/// Runs until told to stop. Fails only when the settings are wrong or the hub denies the driver.
pub async fn run(written: Written, context: Context) -> Result<(), Failure> {
    let mut config = Config::try_from(written)?;
    let door = config.senders.take().map(|senders| {
        let origin = config.origin("arn:aws:events:::api-destination");
        door::serve(senders, origin, &context)
    });
    match (door, &config.queue) {
        (Some(door), None) => {
            context.hub.report(Health::Ready).await;
            door.await
        }
        (None, Some(place)) => {
            let clients = client::connect(&config).await?;
            driver::run(&config, place, clients, context.clone()).await
        }
        (Some(door), Some(place)) => {
            let clients = client::connect(&config).await?;
            let reading = driver::run(&config, place, clients, context.clone());
            // A door that cannot be opened ends the other too.
            let door = async {
                let listened = door.await;
                context.stop.stop();
                listened
            };
            let (read, listened) = tokio::join!(reading, door);
            listened.and(read)
        }
        // The settings are checked: there is something to do.
        (None, None) => Ok(()),
    }
}
