//! The result of a case: its rows, and how they came to be.

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::{SecondsFormat, Utc};
use serde_json::{Value, json};

use crate::machine::Machine;

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
    /// File for the result
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Files of its rows
    #[arg(required = true, value_name = "ROW")]
    rows: Vec<PathBuf>,
}

/// Puts them together.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for path in &args.rows {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let row: Value =
            serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))?;
        rows.push(row);
    }
    let result = json!({
        "case": args.case,
        "command": args.command,
        "commit": args.commit,
        "date": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
        "machine": Machine::here(),
        "rows": rows,
    });
    std::fs::write(&args.out, format!("{result:#}\n"))
        .with_context(|| format!("cannot write {}", args.out.display()))
}
