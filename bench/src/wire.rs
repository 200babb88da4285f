//! HTTP/1.1 on keep-alive connections, as little of it as a measurement needs.
//!
//! What measures must cost less than what is measured, and one core is shared: requests are bytes made once, of
//! a message only the first line and its length are read, and nothing is allocated for either. Bodies need a
//! `content-length`; chunked ones are refused, not guessed at.

use std::io::{self, ErrorKind};
use std::ops::Range;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The longest message that is read.
const MOST_BYTES: usize = 8 << 20;
const FIRST_BYTES: usize = 8 << 10;

/// A connection that asks, one request at a time.
pub(crate) struct Connection {
    stream: TcpStream,
    messages: Messages,
}

impl Connection {
    /// Connects to `host:port`.
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            messages: Messages::default(),
        })
    }

    /// Sends the request, reads the whole answer, returns its status. After an error the connection is of no
    /// more use.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<u16> {
        self.stream.write_all(request).await?;
        loop {
            if let Some(message) = self.messages.next()? {
                return status(self.messages.bytes(&message.head));
            }
            self.messages.read_from(&mut self.stream).await?;
        }
    }
}

/// Where the parts of a message lie in the buffer of its [`Messages`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// From the first line to the empty one.
    pub(crate) head: Range<usize>,
    /// What follows.
    pub(crate) body: Range<usize>,
}

/// Cuts what arrives on a connection into messages.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    buffer: Vec<u8>,
    taken: usize,
    filled: usize,
}

impl Messages {
    /// Reads once; the other side's end is an error.
    pub(crate) async fn read_from(&mut self, stream: &mut TcpStream) -> io::Result<()> {
        if self.taken == self.filled {
            (self.taken, self.filled) = (0, 0);
        } else if self.taken > 0 {
            self.buffer.copy_within(self.taken..self.filled, 0);
            (self.taken, self.filled) = (0, self.filled - self.taken);
        }
        if self.filled == self.buffer.len() {
            if self.filled >= MOST_BYTES {
                return Err(io::Error::new(ErrorKind::InvalidData, "the message is too long"));
            }
            self.buffer.resize((self.filled * 2).max(FIRST_BYTES), 0);
        }
        match stream.read(&mut self.buffer[self.filled..]).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.filled += read;
                Ok(())
            }
        }
    }

    /// The next message, if all of it is there. Its parts stay in place until the next read.
    pub(crate) fn next(&mut self) -> io::Result<Option<Message>> {
        let waiting = &self.buffer[self.taken..self.filled];
        let Some(head) = head_len(waiting) else {
            return Ok(None);
        };
        let body = body_len(&waiting[..head])?;
        if waiting.len() < head + body {
            return Ok(None);
        }
        let start = self.taken;
        self.taken += head + body;
        Ok(Some(Message {
            head: start..start + head,
            body: start + head..start + head + body,
        }))
    }

    /// A part of a message.
    pub(crate) fn bytes(&self, part: &Range<usize>) -> &[u8] {
        &self.buffer[part.clone()]
    }
}

/// The value of a header, without the spaces around it.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    head.split(|&b| b == b'\n').skip(1).find_map(|line| {
        let (key, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        if !key.eq_ignore_ascii_case(name.as_bytes()) {
            return None;
        }
        std::str::from_utf8(value).ok().map(str::trim)
    })
}

fn head_len(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|&b| b == b'\n') {
        from += at + 1;
        if bytes[..from].ends_with(b"\r\n\r\n") {
            return Some(from);
        }
    }
    None
}

fn body_len(head: &[u8]) -> io::Result<usize> {
    if let Some(length) = header(head, "content-length") {
        let length = length.parse().ok().filter(|&length: &usize| length <= MOST_BYTES);
        return length.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no usable content-length"));
    }
    match header(head, "transfer-encoding") {
        Some(_) => Err(io::Error::new(
            ErrorKind::InvalidData,
            "chunked bodies are not read",
        )),
        None => Ok(0),
    }
}

fn status(head: &[u8]) -> io::Result<u16> {
    let digits = head
        .get(9..12)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    digits
        .and_then(|digits| digits.parse().ok())
        .filter(|_| head.starts_with(b"HTTP/1."))
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "this is no HTTP/1 answer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(bytes: &[u8]) -> Messages {
        Messages {
            buffer: bytes.to_vec(),
            taken: 0,
            filled: bytes.len(),
        }
    }

    #[test]
    fn messages_are_cut_apart_wherever_the_reads_ended() {
        let all = b"POST /0 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST /1 HTTP/1.1\r\n\r\n";
        let first = all.windows(3).position(|bytes| bytes == b"abc").unwrap() + 3;
        for end in 0..all.len() {
            let mut messages = messages(&all[..end]);
            let whole = usize::from(end >= first);
            let mut found = 0;
            while let Some(message) = messages.next().unwrap() {
                assert_eq!(messages.bytes(&message.body), b"abc", "{end}");
                found += 1;
            }
            assert_eq!(found, whole, "{end}");
        }

        let mut messages = messages(all);
        messages.next().unwrap().unwrap();
        let second = messages.next().unwrap().unwrap();
        assert!(messages.bytes(&second.head).starts_with(b"POST /1"));
        assert_eq!(messages.next().unwrap(), None);
    }

    #[test]
    fn a_status_and_a_length_that_cannot_be_read_are_errors() {
        assert_eq!(status(b"HTTP/1.1 202 Accepted\r\n\r\n").unwrap(), 202);
        assert!(status(b"SSH-2.0-x\r\n\r\n").is_err());
        for head in [
            "content-length: x",
            "content-length: 99999999999",
            "transfer-encoding: chunked",
        ] {
            let bytes = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n");
            assert!(messages(bytes.as_bytes()).next().is_err(), "{head}");
        }
    }
}
