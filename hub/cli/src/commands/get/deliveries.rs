//! `dispatch get deliveries`: what is still owed, and what it waits for.

use crate::client::Route;
use crate::commands::Session;
use crate::resource::{items, text};
use crate::table::Table;

/// Which of them.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Only those of this subscription
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
}

pub(super) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut route = Route::to("/v1/deliveries");
    if let Some(name) = &args.subscription {
        route = route.with("subscription", name);
    }
    let pending = session.client.get(route).await?;
    session.format.print(&pending, || {
        let mut table = Table::new(&[
            "SUBSCRIPTION",
            "EVENT TYPE",
            "EVENT ID",
            "KEY",
            "STATE",
            "ATTEMPTS",
            "NEXT ATTEMPT",
            "REASON",
        ]);
        for delivery in items(&pending) {
            let fields = [
                "subscription",
                "type",
                "eventId",
                "key",
                "state",
                "attempts",
                "nextAttempt",
                "reason",
            ];
            table.push(fields.map(|field| text(delivery, field)).to_vec());
        }
        table.render()
    })
}
