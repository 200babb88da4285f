//! The result of a case: the rows of all its rounds put together, what was aimed at, and how they came to be.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::machine::Machine;
use crate::rounds::Rounds;
use crate::target::Target;

/// What belongs together.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Name of the case
    #[arg(long)]
    case: String,
    /// How it was run
    #[arg(long)]
    command: String,
    /// Commit of what was measured
    #[arg(long)]
    commit: String,
    /// File with what is aimed at, one a line
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// File for the result
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// File with its rows, one a line
    rows: PathBuf,
}

/// Puts them together.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut rounds = Rounds::default();
    for line in read(&args.rows)?.lines() {
        let row: Value = serde_json::from_str(line)
            .with_context(|| format!("{} has a line that is not JSON", args.rows.display()))?;
        rounds.add(row)?;
    }
    if rounds.is_empty() {
        bail!("{} is empty", args.rows.display());
    }
    let mut targets = Vec::new();
    if let Some(path) = &args.targets {
        for line in read(path)?.lines() {
            let target: Target = line.parse()?;
            targets.push(
                target
                    .judge(&rounds)
                    .with_context(|| format!("target {line:?}"))?,
            );
        }
    }
    let result = json!({
        "case": args.case,
        "command": args.command,
        "commit": args.commit,
        "date": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        "machine": Machine::here(),
        "targets": targets,
        "rows": rounds.rows(),
    });
    std::fs::write(&args.out, format!("{result:#}\n"))
        .with_context(|| format!("cannot write {}", args.out.display()))
}

fn read(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
