//! The least of a bridge that makes a web hook hub of NATS JetStream: HTTP in, publish, wait for its
//! acknowledgement, answer; a durable consumer posts each event on and acknowledges it then.
//!
//! JetStream acknowledges before it syncs unless told otherwise: this peer promises less than the hub it stands
//! beside. Subjects are not matched and nothing is retried here: what it does not do costs it nothing. One thread, for the
//! same reason as that of `floor`: two cost a quarter more for each event.

use std::sync::Arc;

use anyhow::Context as _;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::{self, Context, Message, stream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::StatusCode;
use tokio::sync::mpsc::{self, Receiver};

use crate::door::{self, Between, Take};
use crate::forward::{Post, To};

const SUBJECT: &str = "bench.event";
/// Connections out, and how many events wait for each.
const CONNECTIONS: usize = 64;
const WAITING: usize = 16;

/// Where events come from and go to.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    between: Between,
    /// The server, with JetStream
    #[arg(long, value_name = "URL")]
    nats: String,
}

/// Serves until it is killed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let client = async_nats::connect(&args.nats).await?;
    let jetstream = jetstream::new(client);
    let stream = jetstream
        .get_or_create_stream(stream::Config {
            name: "bench".to_owned(),
            subjects: vec![SUBJECT.to_owned()],
            storage: stream::StorageType::File,
            ..stream::Config::default()
        })
        .await?;
    let consumer = stream
        .get_or_create_consumer(
            "bench",
            pull::Config {
                durable_name: Some("bench".to_owned()),
                ack_policy: AckPolicy::Explicit,
                max_ack_pending: 10_000,
                ..pull::Config::default()
            },
        )
        .await?;
    let to = Arc::new(To::new(&args.between.forward)?);
    tokio::select! {
        ended = door::serve(&args.between.listen, || Bridge(jetstream.clone())) => ended,
        ended = consume(consumer, to) => ended,
    }
}

struct Bridge(Context);

impl Take for Bridge {
    async fn take(&self, body: Bytes) -> StatusCode {
        match self.0.publish(SUBJECT, body).await {
            Ok(acknowledged) => match acknowledged.await {
                Ok(_) => StatusCode::ACCEPTED,
                Err(_) => StatusCode::SERVICE_UNAVAILABLE,
            },
            Err(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Hands messages to the connections in turn.
async fn consume(consumer: PullConsumer, to: Arc<To>) -> anyhow::Result<()> {
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (sender, messages) = mpsc::channel(WAITING);
            drop(tokio::spawn(forward(Post::new(to.clone()), messages)));
            sender
        })
        .collect();
    let mut messages = consumer.stream().max_messages_per_batch(1000).messages().await?;
    for turn in 0.. {
        let message = messages.next().await.context("the consumer ended")??;
        connections[turn % CONNECTIONS].send(message).await?;
    }
    Ok(())
}

/// What the target does not take is not acknowledged, and missing in the row.
async fn forward(mut post: Post, mut messages: Receiver<Message>) {
    while let Some(message) = messages.recv().await {
        if matches!(post.post(&message.payload).await, Ok(200..=299)) {
            // A lost acknowledgement is a repeated delivery, which the row counts.
            message.ack().await.unwrap_or_default();
        }
    }
}
