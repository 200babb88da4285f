//! `dispatch rerun`: calls a function once more as a run called it, with the same input or another.

use anyhow::Context as _;
use serde_json::{Value, json};

use super::exec;
use crate::client::Route;
use crate::commands::Session;
use crate::editor;

/// Which run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Id of the run
    id: String,
    /// Wait for the new run to end
    #[arg(long, short)]
    wait: bool,
    /// Another input, JSON
    #[arg(long, value_name = "JSON", value_parser = exec::json, conflicts_with = "edit")]
    input: Option<Value>,
    /// Change the input in $EDITOR first
    #[arg(long)]
    edit: bool,
    /// Names of other secrets the function gets besides its own
    #[arg(long = "secret", value_name = "NAME", value_delimiter = ',')]
    secrets: Vec<String>,
}

/// Calls, and prints the new run.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let run = || Route::to("/v1/runs").named(&args.id);
    let mut body = json!({"blocking": args.wait});
    let input = match args.edit {
        true => Some(edited(&session.client.get(run()).await?)?),
        false => args.input,
    };
    if let Some(input) = input {
        body["input"] = input;
    }
    if !args.secrets.is_empty() {
        body["secrets"] = json!(args.secrets);
    }
    let again = session.client.post(run().action("rerun"), &body).await?;
    exec::print(&again, session)
}

fn edited(run: &Value) -> anyhow::Result<Value> {
    let text = crate::output::json(&run["input"])?;
    let text = editor::edit("input.json", &format!("{text}\n"), |text| {
        serde_json::from_str::<Value>(text)
            .map(drop)
            .map_err(|error| error.to_string())
    })?;
    serde_json::from_str(&text).context("the input is not JSON")
}
