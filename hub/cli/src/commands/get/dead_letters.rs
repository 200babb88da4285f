//! `dispatch get deadletters`: what could not be delivered, and why.

use crate::client::Route;
use crate::commands::Session;
use crate::resource::{items, text};
use crate::table::Table;

/// Which of them.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Its id; all of them if not given
    #[arg(conflicts_with_all = ["subscription", "redriven"])]
    id: Option<String>,
    /// Only those of this subscription
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
    /// Those that were redriven, too
    #[arg(long)]
    redriven: bool,
}

pub(super) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut route = Route::to("/v1/deadletters");
    if let Some(name) = &args.subscription {
        route = route.with("subscription", name);
    }
    if args.redriven {
        route = route.with("redriven", "true");
    }
    if let Some(id) = &args.id {
        route = route.named(id);
    }
    let letters = session.client.get(route).await?;
    session.format.print(&letters, || {
        let mut table = Table::new(&[
            "ID",
            "SUBSCRIPTION",
            "EVENT TYPE",
            "EVENT ID",
            "ATTEMPTS",
            "REASON",
            "TIME",
        ]);
        for letter in items(&letters) {
            let event = &letter["event"];
            table.push(vec![
                text(letter, "id"),
                text(letter, "subscription"),
                text(event, "type"),
                text(event, "id"),
                text(letter, "attempts"),
                text(letter, "reason"),
                text(letter, "time"),
            ]);
        }
        table.render()
    })
}
