//! Posts bodies on, one at a time, over a connection that is kept.

use std::io::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use http::Uri;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::load::address;
use crate::wire::Connection;

/// Bodies that wait for one connection.
const WAITING: usize = 16;

/// Where to.
pub(crate) struct To {
    address: String,
    head: String,
}

impl To {
    /// To this URL, as structured events.
    pub(crate) fn new(url: &Uri) -> anyhow::Result<Self> {
        let address = address(url)?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let ty = dispatch_contract::STRUCTURED_CONTENT_TYPE;
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {ty}\r\ncontent-length: ");
        Ok(Self { address, head })
    }
}

/// One connection out, made when it is needed.
pub(crate) struct Post {
    to: Arc<To>,
    connection: Option<Connection>,
    request: Vec<u8>,
}

impl Post {
    /// One that is not connected yet.
    pub(crate) fn new(to: Arc<To>) -> Self {
        Self {
            to,
            connection: None,
            request: Vec::new(),
        }
    }

    /// Posts a body, tried once, and returns the status of the answer.
    pub(crate) async fn post(&mut self, body: &[u8]) -> io::Result<u16> {
        self.request.clear();
        self.request.extend_from_slice(self.to.head.as_bytes());
        write!(self.request, "{}\r\n\r\n", body.len())?;
        self.request.extend_from_slice(body);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.to.address).await?,
        };
        let status = connection.exchange(&self.request).await?;
        self.connection = Some(connection);
        Ok(status)
    }
}

/// A connection out with a short queue.
pub(crate) struct Forwarder(Sender<Bytes>);

impl Forwarder {
    /// Ends when this is dropped and everything was posted.
    pub(crate) fn start(to: Arc<To>) -> Self {
        let (sender, bodies) = mpsc::channel(WAITING);
        drop(tokio::spawn(work(Post::new(to), bodies)));
        Self(sender)
    }

    /// Queues a body; waits while the queue is full.
    pub(crate) async fn forward(&self, body: Bytes) -> Result<(), mpsc::error::SendError<Bytes>> {
        self.0.send(body).await
    }
}

async fn work(mut post: Post, mut bodies: Receiver<Bytes>) {
    while let Some(body) = bodies.recv().await {
        // What the target does not take is missing in the row.
        drop(post.post(&body).await);
    }
}
