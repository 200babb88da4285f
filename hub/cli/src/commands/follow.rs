//! Streams of the hub, one value after the other.

use anyhow::Context as _;
use serde_json::Value;

use crate::out;
use crate::stream::{Feed, Message};

/// Gives each value of a stream to `print`, until it fails or the hub ends the stream.
pub(in crate::commands) async fn each_of(
    mut feed: Feed,
    mut print: impl FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    while let Some(message) = feed.next().await? {
        match message {
            Message::Comment(comment) => out::note(comment),
            Message::Data(data) => {
                let value = serde_json::from_str(&data)
                    .context("received unexpected error: the stream is not JSON")?;
                print(&value)?;
            }
        }
    }
    anyhow::bail!("the hub ended the stream")
}
