//! `dispatch redrive`: gives dead letters to their subscriptions again.

use serde_json::json;

use crate::client::Route;
use crate::commands::Session;
use crate::out;
use crate::resource::text;

/// Which dead letters.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(true).args(["ids", "subscription", "all"]))]
pub(crate) struct Args {
    /// Ids, as `dispatch get deadletters` shows them
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All of this subscription
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// All there are
    #[arg(long, conflicts_with_all = ["ids", "subscription"])]
    all: bool,
}

/// Says how many.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut body = json!({});
    if let Some(name) = args.subscription {
        body["subscription"] = json!(name);
    }
    if !args.ids.is_empty() {
        body["ids"] = json!(args.ids);
    }
    let answer = session
        .client
        .post(Route::to("/v1/deadletters/redrive"), &body)
        .await?;
    session
        .format
        .print(&answer, || format!("redriven: {}\n", text(&answer, "redriven")))?;
    let skipped = answer["skipped"].as_u64().unwrap_or_default();
    if skipped > 0 {
        out::note(format_args!("skipped: {skipped}, their subscriptions are gone"));
    }
    Ok(())
}
