//! `dispatch replay`: delivers events once more that came before, to a subscription or to the function behind an API.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;

use crate::client::Route;
use crate::commands::Session;
use crate::out;
use crate::time::moment;

/// Which events, and to whom.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["subscription", "api"]))]
pub(crate) struct Args {
    /// Name of the subscription that gets what its filters want
    subscription: Option<String>,
    /// Call the function of this API once more, as it was called through the API
    #[arg(long, value_name = "NAME")]
    api: Option<String>,
    /// Events that arrived since: 5m, 2h, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    since: DateTime<Utc>,
    /// Events that arrived before this, said in the same way; now if not given
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    until: Option<DateTime<Utc>>,
    /// Only events behind this one: where a replay broke off, which says so
    #[arg(long, value_name = "SEQUENCE")]
    after: Option<u64>,
    /// At most so many, the oldest
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
}

/// Says how many.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let (path, name) = match (&args.subscription, &args.api) {
        (Some(name), _) => ("/v1/subscription", name),
        (None, Some(name)) => ("/v1/api", name),
        (None, None) => anyhow::bail!("a subscription or --api is required"),
    };
    let written = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
    let mut body = json!({
        "since": written(args.since),
        "until": written(args.until.unwrap_or_else(Utc::now)),
    });
    if let Some(after) = args.after {
        body["after"] = json!(after);
    }
    let mut replayed = 0;
    loop {
        if let Some(limit) = args.limit {
            body["limit"] = json!(limit - replayed);
        }
        let route = Route::to(path).named(name).action("replay");
        let answer = session.client.post(route, &body).await.inspect_err(|_| {
            if replayed > 0 {
                let after = &body["after"];
                out::note(format_args!(
                    "replayed: {replayed}; to go on, say --after {after}"
                ));
            }
        })?;
        replayed += answer["replayed"].as_u64().unwrap_or_default();
        let enough = args.limit.is_some_and(|limit| replayed >= limit);
        let before = body["after"].as_u64();
        match answer["next"].as_u64() {
            Some(next) if !enough && before.is_none_or(|before| before < next) => body["after"] = json!(next),
            Some(_) | None => break,
        }
    }
    session.format.print(&json!({"replayed": replayed}), || {
        format!("replayed: {replayed}\n")
    })
}
