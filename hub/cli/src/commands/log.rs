//! `dispatch log`: what a function printed, run after run.

use std::collections::HashSet;

use serde_json::Value;

use super::follow::each_of;
use crate::client::Route;
use crate::commands::Session;
use crate::out;
use crate::resource::{items, text};
use crate::time::rfc3339_nano;

/// Of which function.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the function
    function: String,
    /// Go on with runs as they happen
    #[arg(long, short)]
    follow: bool,
    /// Begin with so many runs before now
    #[arg(long, short, value_name = "COUNT", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
    tail: u32,
}

/// Prints.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let runs = || Route::to("/v1/runs").with("functionName", &args.function);
    // Followed first, so that none is lost in between.
    let feed = match args.follow {
        true => Some(session.client.follow(runs().with("follow", "true")).await?),
        false => None,
    };
    // Says so when there is no such function.
    session
        .client
        .get(Route::to("/v1/function").named(&args.function))
        .await?;
    let found = match args.tail {
        0 => Value::Null,
        tail => session.client.get(runs().with("limit", tail.to_string())).await?,
    };
    let mut seen = HashSet::new();
    for run in items(&found).iter().rev() {
        seen.insert(attempt(run));
        print(run, session)?;
    }
    match feed {
        None => Ok(()),
        Some(feed) => {
            each_of(feed, |run| match seen.remove(&attempt(run)) {
                true => Ok(()),
                false => print(run, session),
            })
            .await
        }
    }
}

fn attempt(run: &Value) -> (String, i64) {
    (text(run, "name"), finished(run))
}

fn finished(run: &Value) -> i64 {
    run.get("finishedTime")
        .and_then(Value::as_i64)
        .unwrap_or_default()
}

fn print(run: &Value, session: &Session) -> anyhow::Result<()> {
    session.format.print_next(run, || {
        let started = run
            .get("executedTime")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let mut told = format!(
            "--- {} {} {}\n",
            rfc3339_nano(started),
            text(run, "name"),
            text(run, "status")
        );
        told.push_str(&lines(run));
        told
    })
}

/// What the function printed in one run; what went to standard error is marked, and so is how it failed.
pub(super) fn lines(run: &Value) -> String {
    let mut told = String::new();
    for (stream, mark) in [("stdout", ""), ("stderr", "stderr: ")] {
        for line in items(&run["logs"][stream]) {
            told.push_str(&format!(
                "{mark}{}\n",
                out::plain(line.as_str().unwrap_or_default())
            ));
        }
    }
    if let Some(error) = run.get("error").filter(|error| !error.is_null()) {
        told.push_str(&format!(
            "{}: {}\n",
            text(error, "type"),
            out::plain(&text(error, "message"))
        ));
        for line in items(&error["stacktrace"]) {
            told.push_str(&format!(
                "    {}\n",
                out::plain(line.as_str().unwrap_or_default()).trim_end()
            ));
        }
    }
    told
}
