//! A target that takes its time, for as long as the process lives.

use std::time::Duration;

use anyhow::Context as _;

use crate::event::Clock;
use crate::receive::{Expected, Target};

/// Where, and how slow.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Where to listen
    #[arg(long, value_name = "ADDRESS")]
    listen: String,
    /// Seconds for each delivery
    #[arg(long)]
    takes: f64,
}

/// Serves until it is killed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let expected = Expected {
        paths: 0,
        producers: 0,
        takes: Duration::from_secs_f64(args.takes),
    };
    let _target = Target::listen(&args.listen, expected, Clock::start())
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    std::future::pending().await
}
