//! Posts bodies on, one at a time, over a connection that is kept.

use std::io::Write as _;
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
    /// To this URL, as this type.
    pub(crate) fn new(url: &Uri, content_type: &str) -> anyhow::Result<Self> {
        let address = address(url)?;
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: {content_type}\r\ncontent-length: "
        );
        Ok(Self { address, head })
    }
}

/// One connection out.
pub(crate) struct Forwarder(Sender<Bytes>);

impl Forwarder {
    /// Connects with the first body; ends when this is dropped and everything was posted.
    pub(crate) fn start(to: Arc<To>) -> Self {
        let (sender, bodies) = mpsc::channel(WAITING);
        drop(tokio::spawn(work(to, bodies)));
        Self(sender)
    }

    /// Queues a body.
    pub(crate) async fn forward(&self, body: Bytes) -> Result<(), mpsc::error::SendError<Bytes>> {
        self.0.send(body).await
    }
}

/// Nothing is tried again: what the target does not take is missing in the row.
async fn work(to: Arc<To>, mut bodies: Receiver<Bytes>) {
    let mut connection = None;
    let mut request = Vec::new();
    while let Some(body) = bodies.recv().await {
        request.clear();
        request.extend_from_slice(to.head.as_bytes());
        // Writing to memory cannot fail.
        write!(request, "{}\r\n\r\n", body.len()).unwrap_or_default();
        request.extend_from_slice(&body);
        let mut open = match connection.take() {
            Some(open) => open,
            None => match Connection::open(&to.address).await {
                Ok(open) => open,
                Err(_) => continue,
            },
        };
        if open.exchange(&request).await.is_ok() {
            connection = Some(open);
        }
    }
}
