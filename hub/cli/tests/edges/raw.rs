//! Requests byte for byte, as no client would send them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const MOST: u64 = 1 << 20;

/// What a connection gave until its end.
#[derive(Debug)]
pub(crate) struct Answers {
    /// Of each answer.
    pub(crate) statuses: Vec<u16>,
    /// All of it.
    pub(crate) text: String,
}

impl Answers {
    /// `200`, `200 404` for two, `none` where the connection ended without.
    pub(crate) fn in_short(&self) -> String {
        match self.statuses.is_empty() {
            true => "none".to_owned(),
            false => {
                let texts: Vec<String> = self.statuses.iter().map(u16::to_string).collect();
                texts.join(" ")
            }
        }
    }

    /// The last answer's body.
    pub(crate) fn body(&self) -> &str {
        self.text.rsplit_once("\r\n\r\n").map_or("", |(_, body)| body)
    }
}

/// Sends the bytes and reads until the hub ends the connection: it must do so by itself.
pub(crate) async fn exchange(port: u16, bytes: &[u8]) -> Result<Answers> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut read, mut write) = stream.into_split();
    let mut text = Vec::new();
    let both = async {
        // A hub that has heard enough hangs up before it has read all; what it said counts.
        let (sent, received) = tokio::join!(write.write_all(bytes), async {
            (&mut read).take(MOST).read_to_end(&mut text).await
        });
        (sent.is_ok(), received.is_ok())
    };
    timeout(PATIENCE, both)
        .await
        .context("the connection does not end")?;
    ensure!((text.len() as u64) < MOST, "an answer without end");
    let text = String::from_utf8_lossy(&text).into_owned();
    let starts = text.match_indices("HTTP/1.").filter_map(|(at, _)| {
        let line = text[at..].lines().next()?;
        line.split(' ').nth(1)?.parse().ok()
    });
    Ok(Answers {
        statuses: starts.collect(),
        text: text.clone(),
    })
}
