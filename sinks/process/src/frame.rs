//! Frames between engine and worker: a 32-bit big-endian length, then that many bytes of JSON.

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

const HEAD: usize = 4;

/// Why no frame came or went.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The worker's end is gone.
    #[error("the worker closed its connection")]
    Closed,
    /// The worker announces more than it may send.
    #[error("the frame has {0} bytes")]
    TooLong(usize),
}

/// A frame ready to be sent: the length is filled in by [`Frame::finish`].
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    /// An empty frame with room for `size` bytes.
    pub(crate) fn with_capacity(size: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEAD + size);
        bytes.extend_from_slice(&[0; HEAD]);
        Self(bytes)
    }

    /// The body, to append to.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Fills in the length; `None` when the body is longer than `max`.
    pub(crate) fn finish(mut self, max: usize) -> Option<Vec<u8>> {
        let length = self.0.len() - HEAD;
        let head = u32::try_from(length).ok().filter(|_| length <= max)?;
        self.0[..HEAD].copy_from_slice(&head.to_be_bytes());
        Some(self.0)
    }
}

/// The engine's end of a worker's socket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    inbox: BytesMut,
}

impl Link {
    pub(crate) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            inbox: BytesMut::with_capacity(4096),
        }
    }

    /// Sends a frame and waits for the one that answers it.
    pub(crate) async fn exchange(&mut self, frame: &[u8], max: usize) -> Result<Bytes, FrameError> {
        self.stream
            .write_all(frame)
            .await
            .map_err(|_| FrameError::Closed)?;
        loop {
            if let Some((head, _)) = self.inbox.split_first_chunk::<HEAD>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > max {
                    return Err(FrameError::TooLong(length));
                }
                if self.inbox.len() >= HEAD + length {
                    self.inbox.advance(HEAD);
                    return Ok(self.inbox.split_to(length).freeze());
                }
                self.inbox.reserve(HEAD + length - self.inbox.len());
            } else {
                self.inbox.reserve(4096);
            }
            match self.stream.read_buf(&mut self.inbox).await {
                Ok(0) | Err(_) => return Err(FrameError::Closed),
                Ok(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_frame_in_pieces_is_put_together_and_one_too_long_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours);
        let mut frame = Frame::with_capacity(2);
        frame.body().extend_from_slice(b"{}");
        let frame = frame.finish(2).unwrap();

        let far = tokio::spawn(async move {
            let mut theirs = theirs;
            for piece in [&[0u8, 0][..], &[0, 3, b'a'], b"bc"] {
                theirs.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            theirs.write_all(&100u32.to_be_bytes()).await.unwrap();
            theirs
        });

        assert_eq!(link.exchange(&frame, 3).await.unwrap(), "abc");
        assert!(matches!(
            link.exchange(&frame, 99).await,
            Err(FrameError::TooLong(100))
        ));
        drop(far.await.unwrap());
        assert!(matches!(
            link.exchange(&frame, 100).await,
            Err(FrameError::Closed)
        ));
    }

    #[test]
    fn a_body_beyond_the_bound_becomes_no_frame() {
        let mut frame = Frame::with_capacity(0);
        frame.body().extend_from_slice(b"abc");
        assert!(frame.finish(2).is_none());
    }
}
