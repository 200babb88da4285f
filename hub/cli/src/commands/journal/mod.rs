//! `dispatch journal`: looks at a hub's journal without the hub, or beside it. Nothing is changed.

mod record;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{ArgGroup, Subcommand};
use dispatch_contract::Sequence;
use dispatch_journal::{Anchor, LinkError, Report};
use serde_json::json;

use crate::out;
use crate::output::Format;
use crate::table::Table;

/// What about it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Read all of it and name what is damaged or, in a chained journal, altered; exit code 1 if anything is
    Verify(Verify),
    /// Print every record as a line of JSON
    Dump(Dump),
}

#[derive(clap::Args)]
#[command(group = ArgGroup::new("place").required(true).args(["dir", "data"]))]
struct Place {
    /// The journal's own folder
    dir: Option<PathBuf>,
    /// The hub's data folder
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Verify {
    #[command(flatten)]
    place: Place,
    /// The end of the chain as an earlier run printed it: fails if the chain does not go through it
    #[arg(long, value_name = "SEQUENCE:HASH", value_parser = anchor)]
    expect: Option<Anchor>,
}

fn anchor(text: &str) -> Result<Anchor, String> {
    let (sequence, link) = text
        .split_once(':')
        .ok_or("two parts are needed, as in 1042:5f3a…")?;
    Ok(Anchor {
        sequence: sequence
            .parse()
            .map_err(|_| format!("{sequence} is no sequence"))?,
        link: link.parse().map_err(|e: LinkError| e.to_string())?,
    })
}

#[derive(clap::Args)]
struct Dump {
    #[command(flatten)]
    place: Place,
    /// Begin with this sequence
    #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
    from: Sequence,
    /// At most so many records
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
}

impl Place {
    fn journal(&self) -> anyhow::Result<PathBuf> {
        let dir = match (&self.dir, &self.data) {
            (Some(dir), _) if dir.join("journal").is_dir() => dir.join("journal"),
            (Some(dir), _) => dir.clone(),
            (None, Some(data)) => data.join("journal"),
            (None, None) => bail!("which journal? name its folder, or --data"),
        };
        if !dir.is_dir() {
            bail!("there is no journal in {}", dir.display());
        }
        Ok(dir)
    }
}

/// Verifies or dumps.
pub(crate) fn run(args: Args, format: Format) -> anyhow::Result<()> {
    match args.what {
        What::Verify(said) => verify(&said, format),
        What::Dump(said) => dump(&said),
    }
}

fn verify(said: &Verify, format: Format) -> anyhow::Result<()> {
    let dir = said.place.journal()?;
    let report = match said.expect {
        Some(expected) => dispatch_journal::verify_against(&dir, expected)?,
        None => dispatch_journal::verify(&dir)?,
    };
    let damage: Vec<_> = report.damage.iter().map(ToString::to_string).collect();
    let document = json!({
        "first": report.first,
        "head": report.head,
        "events": report.events,
        "settlements": report.settlements,
        "throughs": report.throughs,
        "checkpoints": report.checkpoints,
        "segments": report.segments.iter().map(|segment| json!({
            "path": segment.path,
            "first": segment.first,
            "next": segment.next,
            "records": segment.records,
            "bytes": segment.bytes,
        })).collect::<Vec<_>>(),
        "damage": damage,
        "torn": report.torn.as_ref().map(ToString::to_string),
        "chain": report.chain.map(|chain| json!({
            "from": chain.from,
            "end": chain.end.sequence,
            "hash": chain.end.link.to_string(),
        })),
    });
    format.print(&document, || told(&report))?;
    if !report.damage.is_empty() {
        bail!("the journal is damaged: {} places", report.damage.len());
    }
    if let Some(expected) = said.expect.filter(|_| !report.met) {
        let (sequence, link) = (expected.sequence, expected.link);
        bail!("the chain does not go through {sequence}:{link}: something up to there is not what it was");
    }
    Ok(())
}

fn told(report: &Report) -> String {
    let mut table = Table::new(&["SEGMENT", "FIRST", "LAST", "RECORDS", "BYTES"]);
    for segment in &report.segments {
        table.push(vec![
            segment.path.display().to_string(),
            segment.first.to_string(),
            segment.next.saturating_sub(1).to_string(),
            segment.records.to_string(),
            segment.bytes.to_string(),
        ]);
    }
    let mut text = table.render();
    text.push_str(&format!(
        "\nrecords {} to {}: {} events, {} settlements, {} progress marks, {} checkpoints\n",
        report.first, report.head, report.events, report.settlements, report.throughs, report.checkpoints
    ));
    if let Some(chain) = &report.chain {
        let (from, end) = (chain.from, chain.end);
        text.push_str(&format!(
            "chained from {from} on, ends in {}:{}\n",
            end.sequence, end.link
        ));
    }
    for damage in &report.damage {
        text.push_str(&format!("damaged: {damage}\n"));
    }
    if let Some(torn) = &report.torn {
        text.push_str(&format!("unfinished, never acknowledged: {torn}\n"));
    }
    text
}

fn dump(said: &Dump) -> anyhow::Result<()> {
    let mut lines = out::many();
    let mut left = said.limit;
    let mut failed = None;
    let damage = dispatch_journal::dump(&said.place.journal()?, said.from, |located| {
        if left == 0 {
            return ControlFlow::Break(());
        }
        left -= 1;
        let written = record::line(&located).and_then(|line| Ok(lines.write_all(&line)?));
        failed = written.err();
        if failed.is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    if let Some(error) = failed {
        return Err(error);
    }
    lines.flush().context("cannot print")?;
    for place in &damage {
        out::note(format_args!("damaged: {place}"));
    }
    Ok(())
}
