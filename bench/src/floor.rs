//! The least a durable hub can do: takes a request, syncs its body, answers, posts it on.
//!
//! No parsing, no matching, no settlement, no retry. What a hub costs more than this is what it is for; what it
//! costs more than that is waste. Each connection that comes in has one that goes out, fed by a short queue:
//! when the target is slower than the producers, they wait.

use std::convert::Infallible;
use std::path::PathBuf;
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

use crate::commit::Committer;
use crate::forward::{Forwarder, To};

/// Pause after a connection could not be accepted, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Where events come from and go to.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
    /// Where events are posted
    #[arg(long, value_name = "URL")]
    forward: Uri,
    /// File for the bodies; 2 GiB are reserved
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Serves until it is killed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let committer =
        Committer::start(&args.file).with_context(|| format!("cannot reserve {}", args.file.display()))?;
    let to = Arc::new(To::new(
        &args.forward,
        dispatch_contract::STRUCTURED_CONTENT_TYPE,
    )?);
    let listener = TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, committer.clone(), to.clone()))),
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, committer: Committer, to: Arc<To>) {
    stream.set_nodelay(true).unwrap_or_default();
    let forwarder = Forwarder::start(to);
    let service = service_fn(|request: Request<Incoming>| async {
        let status = take(request, &committer, &forwarder).await;
        let mut response = Response::new(Empty::<Bytes>::new());
        *response.status_mut() = status;
        Ok::<_, Infallible>(response)
    });
    // The producer's connection broke: what it had acknowledged is on its way all the same.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .unwrap_or_default();
}

async fn take(request: Request<Incoming>, committer: &Committer, forwarder: &Forwarder) -> StatusCode {
    let Ok(body) = request.into_body().collect().await else {
        return StatusCode::BAD_REQUEST;
    };
    let body = body.to_bytes();
    if committer.commit(body.clone()).await.is_err() || forwarder.forward(body).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    StatusCode::ACCEPTED
}
