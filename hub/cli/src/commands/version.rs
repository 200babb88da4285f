//! `dispatch version`: this tool's and the hub's.

use serde_json::{Value, json};

use crate::client::Route;
use crate::commands::Session;
use crate::out;
use crate::output::Format;
use crate::resource::text;

/// Nothing to say.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// Says this tool's version even when no hub answers.
pub(crate) async fn run(_: Args, session: &Session) -> anyhow::Result<()> {
    let client = env!("CARGO_PKG_VERSION");
    if session.format == Format::Table {
        out::line(format_args!("Client: v{client}"))?;
    }
    let server = session.client.get(Route::to("/v1/version")).await?;
    let versions = json!({ "client": { "version": client }, "server": server });
    session.format.print(&versions, || server_line(&server))
}

fn server_line(server: &Value) -> String {
    let version = text(server, "version");
    format!("Server: v{}\n", version.trim_start_matches('v'))
}
