//! What a process does when nobody asks for anything: its memory, and what it uses each second.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::process::Watch;
use crate::row;

/// Which process, and how long.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// What the row is called
    #[arg(long)]
    name: String,
    /// Process to watch
    #[arg(long)]
    pid: u32,
    /// How long
    #[arg(long)]
    seconds: usize,
    /// File the row is added to as a line
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Watches and writes the row.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let watch = Watch::start(vec![args.pid])?;
    tokio::time::sleep(Duration::from_secs(args.seconds as u64)).await;
    let (process, _) = watch.finish()?;
    // A second stands for an event.
    let figures = process.figures(args.seconds);
    let row = json!({
        "name": args.name,
        "setting": {"seconds": args.seconds},
        "rss_peak_bytes": figures["rss_peak_bytes"],
        "cpu_micros_per_second": figures["cpu_micros_per_event"],
        "switches_per_second": figures["switches_per_event"],
    });
    row::write(&args.out, &row)
}
