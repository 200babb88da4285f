//! The least a durable hub can do: takes a request, syncs its body, answers, posts it on.
//!
//! No parsing, no matching, no settlement, no retry. What a hub costs more than this is what it is for; what it
//! costs more than that is waste. Each connection that comes in has one that goes out, fed by a short queue:
//! when the target is slower than the producers, they wait. One thread serves, beside the one that syncs: with two, an
//! event cost 5 to 15 % more processor time.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::StatusCode;

use crate::commit::Committer;
use crate::door::{self, Between, Take};
use crate::forward::{Forwarder, To};

/// Where events come from and go to.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    between: Between,
    /// File for the bodies; 2 GiB are reserved
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
}

/// Serves until it is killed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let committer =
        Committer::start(&args.file).with_context(|| format!("cannot reserve {}", args.file.display()))?;
    let to = Arc::new(To::new(&args.between.forward)?);
    door::serve(&args.between.listen, || Floor {
        committer: committer.clone(),
        forwarder: Forwarder::start(to.clone()),
    })
    .await
}

struct Floor {
    committer: Committer,
    forwarder: Forwarder,
}

impl Take for Floor {
    async fn take(&self, body: Bytes) -> StatusCode {
        if self.committer.commit(body.clone()).await.is_err() || self.forwarder.forward(body).await.is_err() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        StatusCode::ACCEPTED
    }
}
