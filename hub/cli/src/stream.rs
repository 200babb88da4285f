//! Server-sent events, read line by line.
//!
//! A message ends with an empty line. Empty comments keep the connection alive and are skipped; the hub's other
//! comments are for the person who looks on. The rules are those of the WHATWG HTML standard, section 9.2; `id` and `retry` are not used: a person follows, and
//! starts again.

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use reqwest::Response;

use crate::client::ClientError;

const MAX_MESSAGE_BYTES: usize = 64 * 1024 * 1024;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Its data.
    Data(String),
    /// What the hub says beside the data.
    Comment(String),
}

/// The messages of one connection.
pub(crate) struct Feed {
    chunks: BoxStream<'static, reqwest::Result<Vec<u8>>>,
    parser: Parser,
}

impl Feed {
    /// The messages of this answer.
    pub(crate) fn new(response: Response) -> Self {
        Self {
            chunks: response
                .bytes_stream()
                .map(|chunk| chunk.map(|b| b.to_vec()))
                .boxed(),
            parser: Parser::default(),
        }
    }

    /// The next message; `None` when the hub ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.parser.next() {
                return Ok(Some(message));
            }
            match self.chunks.next().await {
                None => return Ok(None),
                Some(Ok(chunk)) => self.parser.push(&chunk)?,
                Some(Err(error)) => {
                    return Err(ClientError::Connection {
                        reason: format!("the stream broke: {error}"),
                        hint: String::new(),
                    });
                }
            }
        }
    }
}

#[derive(Default)]
struct Parser {
    buffer: Vec<u8>,
    data: Option<String>,
}

impl Parser {
    fn push(&mut self, chunk: &[u8]) -> Result<(), ClientError> {
        let held = self.buffer.len() + self.data.as_ref().map_or(0, String::len);
        if held + chunk.len() > MAX_MESSAGE_BYTES {
            return Err(ClientError::Connection {
                reason: format!("a message of the stream is longer than {MAX_MESSAGE_BYTES} bytes"),
                hint: String::new(),
            });
        }
        self.buffer.extend_from_slice(chunk);
        Ok(())
    }

    fn next(&mut self) -> Option<Message> {
        loop {
            let end = self.buffer.iter().position(|&b| b == b'\n')?;
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                match self.data.take() {
                    Some(data) => return Some(Message::Data(data)),
                    None => continue,
                }
            }
            if let Some(comment) = line.strip_prefix(':') {
                match comment.trim() {
                    "" => continue,
                    comment => return Some(Message::Comment(comment.to_owned())),
                }
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            if field != "data" {
                continue;
            }
            match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_bytes_are_cut() {
        let lines = [
            ":",
            "",
            "event: run",
            "data: {\"a\":",
            "data: \"é\"}",
            "id: 7",
            "",
            "data:x\r",
            "\r",
            "event: lonely",
            "",
            ": missed 3",
            "",
            "",
        ];
        let text = lines.join("\n");
        let data = |text: &str| Message::Data(text.to_owned());
        let expected = [
            data("{\"a\":\n\"é\"}"),
            data("x"),
            Message::Comment("missed 3".to_owned()),
        ];

        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut found = Vec::new();
            for chunk in text.as_bytes().chunks(size) {
                parser.push(chunk).unwrap();
                while let Some(message) = parser.next() {
                    found.push(message);
                }
            }
            assert_eq!(found, expected, "chunks of {size}");
        }
    }
}
