//! Our end of a worker's socket, woken by what comes and not by what went: a Unix-domain socket wakes its writer whenever
//! the other end has read, which for most frames is news to nobody.

use std::io;
use std::os::fd::AsFd as _;

use bytes::BytesMut;
use rustix::io::{Errno, write};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::{Receiver, Sender};

/// The socket.
#[derive(Debug)]
pub(super) struct Stream {
    /// Tokio's `UnixStream` waits for both directions, but the end of a pipe for its own, and reads a socket as well.
    socket: Receiver,
}

impl Stream {
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let socket = Receiver::from_owned_fd_unchecked(stream.into_std()?.into())?;
        Ok(Self { socket })
    }

    /// Writes all of it.
    pub(super) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut left = bytes;
        while !left.is_empty() {
            match write(&self.socket, left) {
                Ok(written) => left = &left[written..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return self.write_slowly(left).await,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Writes what the socket has no room for yet.
    async fn write_slowly(&self, left: &[u8]) -> io::Result<()> {
        let mut outgoing = Sender::from_owned_fd_unchecked(self.socket.as_fd().try_clone_to_owned()?)?;
        outgoing.write_all(left).await
    }

    /// Waits for bytes and puts them behind those in `inbox`; 0 at the end. Cancel safe.
    pub(super) async fn read(&mut self, inbox: &mut BytesMut) -> io::Result<usize> {
        self.socket.read_buf(inbox).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_the_socket_has_room_for_arrives_and_the_end_is_told() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::new(ours).unwrap();
        let large: Vec<u8> = (0..4_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();

        let far = async {
            let mut came = vec![0; large.len()];
            theirs.read_exact(&mut came).await.unwrap();
            theirs.write_all(&came).await.unwrap();
            drop(theirs);
            came
        };
        let back = async {
            stream.write_all(&large).await.unwrap();
            let mut inbox = BytesMut::new();
            loop {
                inbox.reserve(100_000);
                if stream.read(&mut inbox).await.unwrap() == 0 {
                    return inbox;
                }
            }
        };
        let (back, came) = tokio::join!(back, far);

        assert!(came == large, "what came is not what was written");
        assert!(back == large, "what came back is not what was written");
    }

    #[tokio::test]
    async fn what_comes_after_a_short_read_is_read_too() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut stream = Stream::new(ours).unwrap();
        let mut inbox = BytesMut::new();
        for n in 1..=100_u8 {
            inbox.reserve(64);
            theirs.write_all(&[n; 3]).await.unwrap();
            assert_eq!(stream.read(&mut inbox).await.unwrap(), 3);
            assert_eq!(inbox.split(), [n; 3][..]);
        }
    }
}
