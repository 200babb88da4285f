//! `dispatch exec`: runs a function and prints the run.

use serde_json::{Value, json};

use crate::application;
use crate::client::Route;
use crate::commands::Session;
use crate::out;
use crate::output::{self, Format};

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the function
    function: String,
    /// Wait for the run to end
    #[arg(long, short)]
    wait: bool,
    /// What the function gets, JSON
    #[arg(long, value_name = "JSON", default_value = "{}", value_parser = json)]
    input: Value,
    /// Names of secrets the function gets besides its own
    #[arg(long = "secret", value_name = "NAME", value_delimiter = ',')]
    secrets: Vec<String>,
    /// Put the run into this application
    #[arg(long, short, value_name = "NAME")]
    application: Option<String>,
    /// Print all of the run, as is done in any case
    #[arg(long, hide = true)]
    all: bool,
}

/// Runs it.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut body = json!({
        "functionName": args.function,
        "blocking": args.wait,
        "input": args.input,
        "secrets": args.secrets,
    });
    application::join(&mut body, args.application.as_deref());
    let route = Route::to("/v1/runs").with("functionName", &args.function);
    let run = session.client.post(route, &body).await?;
    print(&run, session)
}

/// Prints the run as JSON even where others would print a table: there is no shorter way to show an output.
pub(super) fn print(run: &Value, session: &Session) -> anyhow::Result<()> {
    match session.format {
        Format::Yaml => session.format.print(run, String::new),
        Format::Table | Format::Wide | Format::Json => Ok(out::line(output::json(run)?)?),
    }
}

/// Reads JSON given on the command line.
pub(crate) fn json(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))
}
