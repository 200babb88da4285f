//! `dispatch get events`: what came in, listed or as it happens.

use serde_json::Value;

use crate::client::Route;
use crate::commands::Session;
use crate::commands::follow::each_of;
use crate::out;
use crate::output::Format;
use crate::resource::{items, text};
use crate::table::{Columns, Table};

const HEADER: [&str; 5] = ["ARRIVAL", "TYPE", "SOURCE", "SUBJECT", "ID"];

/// Which events.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Show events as they come in
    #[arg(long, short)]
    follow: bool,
    /// Only events of this type; the hub's own (dispatch.…) are shown only if named here
    #[arg(long = "type", value_name = "TYPE")]
    ty: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "N", conflicts_with = "follow")]
    limit: Option<u32>,
}

pub(super) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut route = Route::to("/v1/events");
    if let Some(ty) = &args.ty {
        route = route.with("type", ty);
    }
    if args.follow {
        return follow(route.with("follow", "true"), session).await;
    }
    if let Some(limit) = args.limit {
        route = route.with("limit", limit.to_string());
    }
    let events = session.client.get(route).await?;
    session.format.print(&events, || {
        let mut table = Table::new(&HEADER);
        for event in items(&events) {
            table.push(row(event));
        }
        table.render()
    })
}

async fn follow(route: Route, session: &Session) -> anyhow::Result<()> {
    let feed = session.client.follow(route).await?;
    let mut columns = Columns::new(&HEADER);
    columns.widen(&["2018-12-08T16:35:30.003Z", "vm.powered.off", "/source", "", ""].map(str::to_owned));
    if session.format == Format::Table {
        out::text(&columns.header(&HEADER))?;
    }
    each_of(feed, |event| {
        session.format.print_next(event, || {
            let row = row(event);
            columns.widen(&row);
            columns.row(&row)
        })
    })
    .await
}

fn row(event: &Value) -> Vec<String> {
    ["arrival", "type", "source", "subject", "id"]
        .map(|field| text(event, field))
        .to_vec()
}
