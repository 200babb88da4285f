//! As much HTTP/1.1 as the producers and the web hooks of this test need: an unoptimized client or server of the
//! usual kind would take more of the machine than the hub.

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _};

const MOST: usize = 64 << 10;

/// A request or an answer.
pub(crate) struct Message {
    head: String,
}

impl Message {
    /// The first line.
    pub(crate) fn start(&self) -> &str {
        self.head.lines().next().unwrap_or_default()
    }

    /// A header, by its name in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Messages of a connection, one after another.
pub(crate) struct Messages<R> {
    from: R,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    /// Reads from there.
    pub(crate) fn new(from: R) -> Self {
        Self {
            from,
            buffer: Vec::new(),
        }
    }

    /// The next one, its body read and dropped; nothing when the other side has closed.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await? {
                ensure!(self.buffer.is_empty(), "broke off in the middle");
                return Ok(None);
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec())?;
        let message = Message { head };
        let length = message.header("content-length").unwrap_or("0");
        let whole = end + length.parse::<usize>().context("content-length")?;
        while self.buffer.len() < whole {
            ensure!(self.more().await?, "broke off in the middle");
        }
        self.buffer.drain(..whole);
        Ok(Some(message))
    }

    async fn more(&mut self) -> Result<bool> {
        ensure!(self.buffer.len() < MOST, "too long");
        Ok(self.from.read_buf(&mut self.buffer).await? > 0)
    }
}
