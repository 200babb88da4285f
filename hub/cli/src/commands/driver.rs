//! `dispatch driver`: for those who write a driver.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use dispatch_driver_suite::{Commands, Finding, Program, Verdict};
use serde_json::json;

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
    /// Run a driver against a hub in memory and check what every driver promises; exit code 1 if a check failed
    Check(Check),
}

#[derive(clap::Args)]
struct Check {
    /// The driver's executable
    program: PathBuf,
    /// Settings: KEY=VALUE, or KEY alone for a switch
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    set: Vec<String>,
    /// A secret as it comes to the driver: a variable of its environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    secret_env: Vec<Variable>,
    /// Shell command that makes $COUNT events happen upstream; $LISTEN is where the driver listens, if it does.
    /// Left out for a driver whose events come by themselves
    #[arg(long, value_name = "COMMAND")]
    trigger: Option<String>,
    /// Shell command that makes something happen that is no event
    #[arg(long, value_name = "COMMAND")]
    malformed: Option<String>,
    /// How long an event may take from upstream to the hub, for instance 60s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = dispatch_contract::parse_duration)]
    patience: Duration,
}

/// A variable that is not printed.
#[derive(Clone)]
struct Variable(String, String);

fn variable(text: &str) -> Result<Variable, &'static str> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Variable(name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE"),
    }
}

/// Checks.
pub(crate) async fn run(args: Args, format: Format) -> anyhow::Result<()> {
    let What::Check(said) = args.what;
    let path = said
        .program
        .canonicalize()
        .with_context(|| format!("cannot find {}", said.program.display()))?;
    let program = Program {
        path,
        args: said.set.iter().map(|set| format!("--{set}")).collect(),
        secrets: said
            .secret_env
            .into_iter()
            .map(|Variable(name, value)| (name, value))
            .collect(),
    };
    let world = Commands {
        program,
        trigger: said.trigger,
        malformed: said.malformed,
    };
    let findings = dispatch_driver_suite::check(world, said.patience).await?;
    let document = findings.iter().map(document).collect();
    format.print(&document, || table(&findings))?;
    let failed = findings.iter().filter(|f| told(f).0 == "FAIL").count();
    if failed > 0 {
        bail!("{failed} of {} checks failed", findings.len());
    }
    Ok(())
}

fn told(finding: &Finding) -> (&'static str, &str) {
    match &finding.verdict {
        Verdict::Pass => ("pass", finding.promise),
        Verdict::Fail(seen) => ("FAIL", seen),
        Verdict::NotApplicable(why) => ("not applicable", why),
    }
}

fn document(finding: &Finding) -> serde_json::Value {
    let (verdict, seen) = told(finding);
    json!({
        "check": finding.check,
        "promise": finding.promise,
        "verdict": verdict.to_lowercase(),
        "seen": seen,
    })
}

fn table(findings: &[Finding]) -> String {
    let mut table = Table::new(&["CHECK", "VERDICT", "SEEN"]);
    for finding in findings {
        let (verdict, seen) = told(finding);
        table.push(vec![
            finding.check.to_owned(),
            verdict.to_owned(),
            seen.to_owned(),
        ]);
    }
    table.render()
}
