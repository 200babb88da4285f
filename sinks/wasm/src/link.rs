//! The connection to the engine: frames, each a 32-bit big-endian length and that many bytes of JSON.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// More than the engine sends in one frame.
const MAX_FRAME: usize = 17 * 1024 * 1024;

/// Our end of the socket.
pub(crate) struct Link {
    stream: UnixStream,
}

impl Link {
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        UnixStream::connect(socket).map(Self::new)
    }

    fn new(stream: UnixStream) -> Self {
        Self { stream }
    }

    /// The next frame; `None` when the engine hung up.
    pub(crate) fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut head = [0; 4];
        match self.stream.read_exact(&mut head) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let length = u32::from_be_bytes(head) as usize;
        if length > MAX_FRAME {
            let text = format!("a frame of {length} bytes: at most {MAX_FRAME} are taken");
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Some(body))
    }

    /// Sends a frame.
    pub(crate) fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let length = u32::try_from(body.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(4 + body.len());
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(body);
        self.stream.write_all(&frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_arrive_as_they_were_sent_and_one_too_long_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut ours, mut theirs) = (Link::new(ours), Link::new(theirs));

        ours.write(b"{}").unwrap();
        ours.write(b"").unwrap();
        ours.stream.write_all(&u32::MAX.to_be_bytes()).unwrap();

        assert_eq!(theirs.read().unwrap().unwrap(), b"{}");
        assert_eq!(theirs.read().unwrap().unwrap(), b"");
        assert_eq!(theirs.read().unwrap_err().kind(), ErrorKind::InvalidData);
        drop(ours);
        assert!(theirs.read().unwrap().is_none());
    }
}
