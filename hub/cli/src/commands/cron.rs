//! `dispatch cron`: schedules, before a driver is made of them. The cron driver's own executable answers.

use std::process::Command;

use anyhow::{Context as _, bail};
use clap::Subcommand;

use crate::out;
use crate::program::of_type;

/// What about it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Print when a schedule fires next
    Next(Next),
}

#[derive(clap::Args)]
struct Next {
    /// The schedule: five fields, six with seconds first, @every 10s, @daily, ...
    schedule: String,
    /// Its time zone, for instance Europe/Berlin
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// How many
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=100))]
    count: u8,
}

/// Prints.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let What::Next(said) = args.what;
    let program = of_type("cron")?;
    let output = Command::new(&program)
        .arg(format!("--cron={}", said.schedule))
        .arg(format!("--timezone={}", said.timezone))
        .arg(format!("--next={}", said.count))
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(out::text(&String::from_utf8_lossy(&output.stdout))?)
}
