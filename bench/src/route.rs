//! The least a gateway can do: one axum route that reads a JSON document and answers with it. No function, no events.

use anyhow::Context as _;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::value::RawValue;

/// Where it is.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
}

/// Serves until it is killed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(&args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let routes = Router::new().route("/", post(async |body: Json<Box<RawValue>>| body));
    Ok(axum::serve(listener, routes).await?)
}
