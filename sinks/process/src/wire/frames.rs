//! Frames over a Unix-domain socket: one connection a worker, one call at a time on it.

use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};
use dispatch_contract::Invocation;
use rustix::process::Pid;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::Instant;

use super::frame::HEAD;
use super::stream::Stream;
use super::web_frame::{self, MAX_RESPONSE};
use super::{Answer, GreetError, WireError, web};
use crate::group;
use crate::launch::Launch;
use crate::message::{self, Asks, MAX_ANSWER};

/// The engine's end of a worker's socket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: Stream,
    inbox: BytesMut,
    worker: Pid,
    /// The name of a function that is asked with HTTP requests.
    handler: Option<String>,
}

/// What an HTTP handler without a server is asked at.
const HOST: &str = "localhost";

/// Has the worker that comes to the socket load the function.
pub(super) async fn greet(socket: Socket, launch: &Launch, leader: Pid) -> Result<Link, GreetError> {
    let lost = |error: &dyn std::fmt::Display| GreetError::Lost(error.to_string());
    let (stream, worker) = socket.accept(leader).await.map_err(|e| lost(&e))?;
    let mut link = Link::new(stream, worker).map_err(|e| lost(&e))?;
    let order = message::load(&launch.source, &launch.plan.handler);
    let answer = link.exchange(&order, MAX_ANSWER).await.map_err(|e| lost(&e))?;
    link.handler = match message::loaded(&answer).map_err(GreetError::Refused)? {
        Asks::Http => Some(launch.name.clone()),
        Asks::Message => None,
    };
    Ok(link)
}

impl Link {
    fn new(stream: UnixStream, worker: Pid) -> std::io::Result<Self> {
        Ok(Self {
            stream: Stream::new(stream)?,
            inbox: BytesMut::with_capacity(4096),
            worker,
            handler: None,
        })
    }

    /// The process at the other end.
    pub(super) fn worker(&self) -> Pid {
        self.worker
    }

    pub(super) async fn call(
        &mut self,
        invocation: &Invocation,
        deadline: Instant,
    ) -> Result<Answer, WireError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let asked = match &self.handler {
            None => message::call(invocation, left).map(|frame| (frame, None)),
            Some(function) => web::request(invocation, function, HOST, deadline)
                .and_then(|(request, asked)| Ok((web_frame::call(&request, left)?, Some(asked)))),
        };
        match asked {
            Err(error) => Ok(Answer::failed(error)),
            Ok((frame, None)) => {
                let answer = self.exchange(&frame, MAX_ANSWER).await?;
                Ok(message::answer(&answer))
            }
            Ok((frame, Some(asked))) => {
                let answer = self.exchange(&frame, MAX_RESPONSE).await?;
                Ok(web_frame::answer(asked, &answer))
            }
        }
    }

    /// Sends a frame and waits for the one that answers it.
    async fn exchange(&mut self, frame: &[u8], max: usize) -> Result<Bytes, WireError> {
        self.stream
            .write_all(frame)
            .await
            .map_err(|_| WireError::Closed)?;
        loop {
            if let Some((head, _)) = self.inbox.split_first_chunk::<HEAD>() {
                let length = u32::from_be_bytes(*head) as usize;
                if length > max {
                    return Err(WireError::TooLong(length));
                }
                if self.inbox.len() >= HEAD + length {
                    self.inbox.advance(HEAD);
                    return Ok(self.inbox.split_to(length).freeze());
                }
                self.inbox.reserve(HEAD + length - self.inbox.len());
            } else {
                self.inbox.reserve(4096);
            }
            match self.stream.read(&mut self.inbox).await {
                Ok(0) | Err(_) => return Err(WireError::Closed),
                Ok(_) => {}
            }
        }
    }
}

/// The socket a worker is about to connect to; its file goes with this.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    pub(super) fn bind(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join(uuid::Uuid::new_v4().simple().to_string());
        let listener = UnixListener::bind(&path)?;
        Ok(Self { listener, path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The connection of a process of the group that `leader` leads; others are hung up on.
    async fn accept(&self, leader: Pid) -> std::io::Result<(UnixStream, Pid)> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let peer = stream.peer_cred()?.pid().and_then(Pid::from_raw);
            if let Some(peer) = peer.filter(|peer| group::has(leader, *peer)) {
                return Ok((stream, peer));
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove a worker's socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::super::frame::Frame;
    use super::*;

    #[tokio::test]
    async fn a_frame_in_pieces_is_put_together_and_one_too_long_is_refused() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(ours, rustix::process::getpid()).unwrap();
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
            Err(WireError::TooLong(100))
        ));
        drop(far.await.unwrap());
        assert!(matches!(link.exchange(&frame, 100).await, Err(WireError::Closed)));
    }
}
