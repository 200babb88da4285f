//! One row of figures: a warm-up that is not counted, the load, and the wait for what is still to come.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ArgGroup;
use http::Uri;
use serde_json::{Value, json};

use crate::event::{Clock, Mode, Recipe};
use crate::load::{self, Load, Posted};
use crate::process::Watch;
use crate::receive::{Received, Target};

/// What to measure.
#[derive(clap::Args, Debug)]
#[command(group = ArgGroup::new("to").required(true).args(["url", "direct"]))]
pub(crate) struct Args {
    /// What the row is called
    #[arg(long)]
    name: String,
    /// Where events are posted: a hub's /v1/events, or anything that takes CloudEvents
    #[arg(long)]
    url: Option<Uri>,
    /// Post straight to the own target: the limit of generator and target
    #[arg(long)]
    direct: bool,
    /// Where deliveries arrive; subscriptions send to http://ADDRESS/0, /1, …
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: String,
    /// Deliveries expected for each event
    #[arg(long, default_value_t = 1)]
    deliveries: usize,
    /// structured or binary
    #[arg(long, value_enum, default_value_t = Mode::Structured)]
    mode: Mode,
    /// Type of the events
    #[arg(long = "type", default_value = "bench.event")]
    ty: String,
    /// Bytes of their data
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Connections that post
    #[arg(long, default_value_t = 64)]
    producers: usize,
    /// Events a second (open loop); as fast as acknowledged if not given (closed loop)
    #[arg(long)]
    rate: Option<f64>,
    /// Seconds that count
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before, that do not
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds without any delivery after which the rest is missing
    #[arg(long, default_value_t = 15.0)]
    patience: f64,
    /// Process to watch
    #[arg(long)]
    pid: Option<u32>,
    /// File for the row
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Measures and writes the row.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    ensure!(args.producers > 0, "--producers must be at least 1");
    ensure!(
        args.rate.is_none_or(|rate| rate > 0.0),
        "--rate must be more than 0"
    );
    let clock = Clock::start();
    let target = Target::listen(&args.listen, args.deliveries.max(1), args.producers, clock)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let url = match &args.url {
        Some(url) => url.clone(),
        None => format!("http://127.0.0.1:{}/0", target.port).parse()?,
    };
    let load = Load {
        url,
        recipe: Recipe::new(args.mode, &args.ty, args.size),
        producers: args.producers,
        rate: args.rate,
        duration: Duration::from_secs_f64(args.seconds),
    };
    let base = std::process::id() << 1;

    let warmup = Load {
        duration: Duration::from_secs_f64(args.warmup),
        ..load.clone()
    };
    target.begin(base);
    let warmed = load::run(&warmup, base, clock).await?;
    ensure!(
        warmed.acknowledged > 0 || args.warmup == 0.0,
        "{} acknowledges nothing: {} errors, refused {:?}",
        load.url,
        warmed.errors,
        warmed.refused
    );
    arrived(&target, warmed.acknowledged * args.deliveries, args.patience).await;

    target.begin(base + 1);
    let watch = args.pid.map(Watch::start);
    let begin = clock.now();
    let posted = load::run(&load, base + 1, clock).await?;
    arrived(&target, posted.acknowledged * args.deliveries, args.patience).await;
    let hub = match watch {
        Some(watch) => Some(watch.finish().await?),
        None => None,
    };

    let received = target.begin(0);
    let mut row = figures(&args, posted, received, begin);
    row["hub"] = json!(hub);
    std::fs::write(&args.out, format!("{row:#}\n"))
        .with_context(|| format!("cannot write {}", args.out.display()))
}

/// Waits until as many deliveries are there, or none came for too long.
async fn arrived(target: &Target, expected: usize, patience: f64) {
    let mut before = target.distinct();
    let mut idle = Duration::ZERO;
    let step = Duration::from_millis(20);
    while before < expected && idle.as_secs_f64() < patience {
        tokio::time::sleep(step).await;
        let now = target.distinct();
        idle = if now > before { Duration::ZERO } else { idle + step };
        before = now;
    }
}

fn figures(args: &Args, posted: Posted, received: Received, begin: Duration) -> Value {
    let per_second = |count: usize, took: Duration| (count as f64 / took.as_secs_f64()).round();
    let expected = posted.acknowledged * args.deliveries;
    let mut row = json!({
        "name": args.name,
        "mode": format!("{:?}", args.mode).to_lowercase(),
        "data_bytes": args.size,
        "producers": args.producers,
        "loop": if args.rate.is_some() { "open" } else { "closed" },
        "rate": args.rate,
        "seconds": posted.took.as_secs_f64(),
        "acknowledged": posted.acknowledged,
        "acks_per_second": per_second(posted.acknowledged, posted.took),
        "ack_micros": posted.latency.latency(),
        "refused": posted.refused,
        "errors": posted.errors,
    });
    if args.deliveries > 0 {
        row["deliveries"] = json!(received.distinct);
        row["deliveries_repeated"] = json!(received.repeated);
        // What the hub could not acknowledge may still be delivered.
        row["deliveries_missing"] = json!(expected.saturating_sub(received.distinct));
        let took = received.last.saturating_sub(begin);
        row["deliveries_per_second"] = json!(if took.is_zero() {
            0.0
        } else {
            per_second(received.distinct, took)
        });
        row["end_to_end_micros"] = json!(received.latency.latency());
    }
    row
}
