//! `dispatch get runs`: the story of each call, listed or as it happens.

use clap::ValueEnum;
use serde_json::Value;

use crate::application;
use crate::client::Route;
use crate::commands::Session;
use crate::commands::follow::each_of;
use crate::out;
use crate::output::Format;
use crate::resource::{items, text};
use crate::table::{Columns, Table};
use crate::time::{moment, rfc3339_nano};

/// Runs the hub gives at once.
const MAX_PAGE: usize = 1000;
const HEADER: [&str; 5] = ["ID", "FUNCTION", "STATUS", "STARTED", "FINISHED"];

/// Which runs.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Only runs of this function
    function: Option<String>,
    /// Only this run
    id: Option<String>,
    /// Only runs with this status: initialized, creating, ready or error
    #[arg(long, value_name = "STATUS", conflicts_with = "id")]
    status: Option<String>,
    /// Only runs that began or ended since: 5m, 2h, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", conflicts_with = "id", value_parser = since)]
    since: Option<i64>,
    /// Only runs of this application
    #[arg(long, short, value_name = "NAME", conflicts_with = "id")]
    application: Option<String>,
    /// At most so many, the newest
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["id", "follow", "last"], value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Only the run that started last
    #[arg(long, conflicts_with_all = ["id", "follow", "by"])]
    last: bool,
    /// Show runs as they happen
    #[arg(long, short, conflicts_with = "id")]
    follow: bool,
    /// Sort by function, status, started or finished; started and the newest first if not given
    #[arg(long, value_name = "WHAT", conflicts_with_all = ["id", "follow"], hide_possible_values = true)]
    by: Option<By>,
}

#[derive(Clone, Copy, ValueEnum)]
enum By {
    Function,
    Status,
    Started,
    Finished,
}

pub(super) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let mut route = Route::to("/v1/runs");
    if let Some(function) = &args.function {
        route = route.with("functionName", function);
    }
    if let Some(status) = &args.status {
        route = route.with("status", status);
    }
    if let Some(since) = args.since {
        route = route.with("since", since.to_string());
    }
    route = application::narrow(route, args.application.as_deref());
    if args.follow {
        return follow(route.with("follow", "true"), session).await;
    }
    if let Some(id) = &args.id {
        let run = session.client.get(route.named(id)).await?;
        return session.format.print(&run, || table(&run));
    }
    let limit = match args.last {
        true => Some(1),
        false => args.limit,
    };
    let mut runs = pages(route, limit, session).await?;
    if let Some(runs) = runs.as_array_mut() {
        sort(runs, args.by.unwrap_or(By::Started));
    }
    if args.last {
        let Some(last) = items(&runs).first() else {
            anyhow::bail!("there are no runs");
        };
        return session.format.print(last, || table(last));
    }
    session.format.print(&runs, || table(&runs))
}

/// Page after page, until there are so many or there are no more.
async fn pages(route: Route, limit: Option<u32>, session: &Session) -> anyhow::Result<Value> {
    let most = limit.map_or(usize::MAX, |limit| limit as usize);
    let mut all: Vec<Value> = Vec::new();
    loop {
        let mut page = route.clone();
        if limit.is_some() {
            page = page.with("limit", (most - all.len()).min(MAX_PAGE).to_string());
        }
        if let Some(last) = all.last() {
            page = page.with(
                "after",
                format!("{}-{}", time(last, "executedTime"), text(last, "name")),
            );
        }
        let (found, more) = session.client.page(page).await?;
        let Value::Array(found) = found else {
            return Ok(found);
        };
        let ended = found.is_empty() || !more;
        all.extend(found);
        if ended || all.len() >= most {
            return Ok(all.into());
        }
    }
}

/// Unix seconds: so long ago, or a moment.
fn since(text: &str) -> Result<i64, String> {
    match text.parse() {
        Ok(seconds) => Ok(seconds),
        Err(_) => moment(text).map(|time| time.timestamp()),
    }
}

async fn follow(route: Route, session: &Session) -> anyhow::Result<()> {
    let feed = session.client.follow(route).await?;
    let mut columns = Columns::new(&HEADER);
    // Wide enough for a run's id and times, so that the lines stand under their headers.
    let id = "00000000-0000-0000-0000-000000000000";
    let time = rfc3339_nano(1_544_254_530_003_557_189);
    columns.widen(&[id, "hello-world", "READY", &time, &time].map(str::to_owned));
    if session.format == Format::Table {
        out::text(&columns.header(&HEADER))?;
    }
    each_of(feed, |run| {
        session.format.print_next(run, || {
            let row = row(run);
            columns.widen(&row);
            columns.row(&row)
        })
    })
    .await
}

fn table(runs: &Value) -> String {
    let mut table = Table::new(&HEADER);
    for run in items(runs) {
        table.push(row(run));
    }
    table.render()
}

fn row(run: &Value) -> Vec<String> {
    vec![
        text(run, "name"),
        text(run, "functionName"),
        text(run, "status"),
        rfc3339_nano(time(run, "executedTime")),
        rfc3339_nano(time(run, "finishedTime")),
    ]
}

fn time(run: &Value, field: &str) -> i64 {
    run.get(field).and_then(Value::as_i64).unwrap_or_default()
}

/// Times fall, words rise; what is alike stays in the order of its start.
fn sort(runs: &mut [Value], by: By) {
    runs.sort_by_key(|run| std::cmp::Reverse(time(run, "executedTime")));
    match by {
        By::Started => {}
        By::Finished => runs.sort_by_key(|run| std::cmp::Reverse(time(run, "finishedTime"))),
        By::Function => runs.sort_by_key(|run| text(run, "functionName")),
        By::Status => runs.sort_by_key(|run| text(run, "status")),
    }
}
