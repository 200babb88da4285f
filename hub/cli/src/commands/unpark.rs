//! `dispatch unpark`: tries keys again that wait because an event of theirs could not be delivered.

use serde_json::json;

use crate::client::Route;
use crate::commands::Session;
use crate::resource::text;

/// Which keys.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the subscription
    subscription: String,
    /// Only this key; all that are parked if not given
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Leave the parked event out: it becomes a dead letter, and its key goes on behind it
    #[arg(long)]
    skip: bool,
}

/// Says how many.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut body = json!({"skip": args.skip});
    if let Some(key) = args.key {
        body["key"] = json!(key);
    }
    let route = Route::to("/v1/subscription")
        .named(&args.subscription)
        .action("unpark");
    let answer = session.client.post(route, &body).await?;
    session
        .format
        .print(&answer, || format!("unparked: {}\n", text(&answer, "unparked")))
}
