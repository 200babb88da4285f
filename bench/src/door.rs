//! A bare HTTP door: hyper, a body in, a status out.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Where what is measured stands.
#[derive(clap::Args, Debug)]
pub(crate) struct Between {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: String,
    /// Where events are posted
    #[arg(long, value_name = "URL")]
    pub(crate) forward: Uri,
}

/// What is done with the bodies of one connection.
pub(crate) trait Take: Send + Sync + 'static {
    /// Takes one; the status is the answer.
    fn take(&self, body: Bytes) -> impl Future<Output = StatusCode> + Send;
}

/// Serves until the process is killed; `open` is asked for each connection.
pub(crate) async fn serve<T: Take>(listen: &str, open: impl Fn() -> T) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    loop {
        match listener.accept().await {
            // Ends with its connection.
            Ok((stream, _)) => drop(tokio::spawn(connection(stream, Arc::new(open())))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn connection<T: Take>(stream: TcpStream, taker: Arc<T>) {
    stream.set_nodelay(true).unwrap_or_default();
    let service = service_fn(|request: Request<Incoming>| {
        let taker = taker.clone();
        async move {
            let status = match request.into_body().collect().await {
                Ok(body) => taker.take(body.to_bytes()).await,
                Err(_) => StatusCode::BAD_REQUEST,
            };
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        }
    });
    // The producer's connection broke: what it had acknowledged is on its way all the same.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .unwrap_or_default();
}
