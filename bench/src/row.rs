//! One row of figures: a warm-up that is not counted, the load, and the wait for what is still to come.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::ArgGroup;
use http::Uri;
use serde_json::{Value, json};

use crate::event::{Clock, Mode, Recipe};
use crate::load::{self, Load, Posted};
use crate::process::{Usage, Watch};
use crate::receive::{Expected, Received, Target};

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
    /// Post straight to the own target: what generator and target make without a hub
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
    /// Types: with more than one, TYPE.0, TYPE.1, … in turn
    #[arg(long, default_value_t = 1)]
    types: usize,
    /// Bytes of their data
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// Events in a request; more than one are a batch
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Content type of requests, instead of that of CloudEvents
    #[arg(long)]
    content_type: Option<String>,
    /// Connections that post
    #[arg(long, default_value_t = 64)]
    producers: usize,
    /// Requests a second (open loop); as fast as acknowledged if not given (closed loop)
    #[arg(long)]
    rate: Option<f64>,
    /// Events after which it ends although there is time left
    #[arg(long)]
    events: Option<usize>,
    /// Seconds that count
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Seconds before, that do not
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds without any delivery after which the rest is missing
    #[arg(long, default_value_t = 15.0)]
    patience: f64,
    /// Process to watch; may be given more than once
    #[arg(long)]
    pid: Vec<u32>,
    /// File the row is added to as a line
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Measures and writes the row.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    for (flag, count) in [
        ("producers", args.producers),
        ("types", args.types),
        ("batch", args.batch),
    ] {
        ensure!(count > 0, "--{flag} must be at least 1");
    }
    ensure!(
        args.rate.is_none_or(|rate| rate > 0.0),
        "--rate must be more than 0"
    );
    let clock = Clock::start();
    let expected = Expected {
        paths: args.deliveries.max(args.types),
        producers: args.producers,
        takes: Duration::ZERO,
    };
    let target = Target::listen(&args.listen, expected, clock)
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let load = args.load(&target)?;
    let base = std::process::id() << 1;

    if args.warmup > 0.0 {
        let warmup = Load {
            duration: Duration::from_secs_f64(args.warmup),
            ..load.clone()
        };
        target.begin(base);
        let warmed = load::run(&warmup, base, clock).await?;
        ensure!(
            warmed.acknowledged > 0,
            "{} acknowledges nothing: {} errors, refused {:?}",
            load.url,
            warmed.errors,
            warmed.refused
        );
        arrived(&target, warmed.acknowledged * args.deliveries, args.patience).await;
    }

    target.begin(base + 1);
    let generator = Watch::start(vec![std::process::id()])?;
    let process = Watch::start(args.pid.clone())?;
    let begin = clock.now();
    let posted = load::run(&load, base + 1, clock).await?;
    arrived(&target, posted.acknowledged * args.deliveries, args.patience).await;
    let (process, children) = process.finish()?;
    let (generator, _) = generator.finish()?;

    let received = target.begin(0);
    let events = if args.deliveries > 0 {
        received.distinct
    } else {
        posted.acknowledged
    };
    let mut row = args.figures(posted, received, begin);
    row["generator"] = generator.figures(events);
    if !args.pid.is_empty() {
        row["process"] = process.figures(events);
        row["per_core_second"] = process.per_core_second(children, events).into();
        if children != Usage::default() {
            row["children"] = children.figures(events);
        }
    }
    write(&args.out, &row)
}

/// Adds a row to a file of rows.
pub(crate) fn write(out: &Path, row: &Value) -> anyhow::Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(out);
    file.and_then(|mut file| writeln!(file, "{row}"))
        .with_context(|| format!("cannot write {}", out.display()))
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

impl Args {
    fn load(&self, target: &Target) -> anyhow::Result<Load> {
        let url = match &self.url {
            Some(url) => url.clone(),
            None => format!("http://127.0.0.1:{}/0", target.port).parse()?,
        };
        Ok(Load {
            url,
            recipe: Recipe {
                mode: self.mode,
                ty: self.ty.clone(),
                types: self.types,
                size: self.size,
                batch: self.batch,
                content_type: self.content_type.clone(),
            },
            producers: self.producers,
            rate: self.rate,
            duration: Duration::from_secs_f64(self.seconds),
            most: self.events.map(|events| events.div_ceil(self.producers)),
        })
    }

    /// What the row says; `setting` is what was asked for, the rest is what was measured.
    fn figures(&self, posted: Posted, received: Received, begin: Duration) -> Value {
        let expected = posted.acknowledged * self.deliveries;
        let mut row = json!({
            "name": self.name,
            "setting": {
                "mode": format!("{:?}", self.mode).to_lowercase(),
                "data_bytes": self.size,
                "types": self.types,
                "batch": self.batch,
                "producers": self.producers,
                "rate": self.rate,
                "deliveries": self.deliveries,
            },
        });
        posted.tell(&mut row);
        if self.deliveries > 0 {
            row["deliveries"] = json!(received.distinct);
            row["deliveries_repeated"] = json!(received.repeated);
            // What the hub could not acknowledge may still be delivered.
            row["deliveries_missing"] = json!(expected.saturating_sub(received.distinct));
            let took = received.last.saturating_sub(begin);
            row["deliveries_per_second"] = json!(if took.is_zero() {
                0.0
            } else {
                load::per_second(received.distinct, took)
            });
            row["end_to_end_micros"] = json!(received.latency.latency());
        }
        row
    }
}
