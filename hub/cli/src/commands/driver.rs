//! `dispatch driver`: for those who write a driver, and those who want to know whether its settings work.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use dispatch_driver_suite::{Commands, Finding, Verdict};
use serde_json::json;

use crate::out;
use crate::output::Format;
use crate::program::{Settings, named};
use crate::table::Table;

/// How long a driver may think about a question.
const ANSWER: Duration = Duration::from_secs(10);

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
    /// Try a driver's settings without a hub, and say what it finds: its own --test
    Test(Test),
    /// Print the JSON Schema of the data of a driver's events: its own --schema
    Schema(Schema),
}

#[derive(clap::Args)]
struct Check {
    /// The driver's executable, or a driver type
    #[arg(value_name = "PROGRAM")]
    program: String,
    #[command(flatten)]
    settings: Settings,
    /// Shell command that makes $COUNT events happen upstream. One that names LISTEN sends event number $NUMBER to a driver
    /// that listens on $LISTEN, and is repeated until it succeeds. Left out when events come by themselves
    #[arg(long, value_name = "COMMAND")]
    trigger: Option<String>,
    /// Shell command that makes something happen that is no event
    #[arg(long, value_name = "COMMAND")]
    malformed: Option<String>,
    /// How long an event may take from upstream to the hub, for instance 60s
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = dispatch_contract::parse_duration)]
    patience: Duration,
    /// Run only this check; may be given several times
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(dispatch_driver_suite::names()))]
    only: Vec<String>,
}

#[derive(clap::Args)]
struct Test {
    /// The driver type, or the driver's executable
    #[arg(value_name = "TYPE")]
    program: String,
    #[command(flatten)]
    settings: Settings,
    /// Where senders reach a driver that listens, for instance its `url` once it runs: what they would hear is tried, by
    /// drivers that can
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

#[derive(clap::Args)]
struct Schema {
    /// The driver type, or the driver's executable
    #[arg(value_name = "TYPE")]
    program: String,
    /// The type of the events; left out, all types that have a schema are named
    #[arg(value_name = "EVENT-TYPE")]
    event_type: Option<String>,
}

/// Checks, tests, or asks.
pub(crate) async fn run(args: Args, format: Format) -> anyhow::Result<ExitCode> {
    match args.what {
        What::Check(said) => check(said, format).await.map(|()| ExitCode::SUCCESS),
        What::Test(said) => test(said).await,
        What::Schema(said) => schema(said).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn check(said: Check, format: Format) -> anyhow::Result<()> {
    let program = said.settings.of(named(&said.program)?)?;
    let world = Commands::new(program, said.trigger, said.malformed);
    let findings = match said.only.is_empty() {
        true => dispatch_driver_suite::check(world, said.patience).await?,
        false => dispatch_driver_suite::check_only(&said.only, world, said.patience).await?,
    };
    let document = findings.iter().map(document).collect();
    format.print(&document, || table(&findings))?;
    let is_failure = |finding: &&Finding| matches!(finding.verdict, Verdict::Fail(_));
    match findings.iter().filter(is_failure).count() {
        0 => Ok(()),
        failed => bail!("{failed} of {} checks failed", findings.len()),
    }
}

/// What it prints is printed, and how it ends is how this ends.
async fn test(said: Test) -> anyhow::Result<ExitCode> {
    let program = said.settings.of(named(&said.program)?)?;
    let mut command = program.command();
    command.arg("--test").kill_on_drop(true);
    if let Some(url) = &said.url {
        command.env("DISPATCH_PUBLIC_URL", url);
    }
    let ended = command.status().await;
    let status = ended.with_context(|| format!("cannot run {}", program.path.display()))?;
    Ok(code(status))
}

/// A program that begins to work instead of answering is ended.
async fn schema(said: Schema) -> anyhow::Result<()> {
    let path = named(&said.program)?;
    let question = match said.event_type {
        Some(ty) => format!("--schema={ty}"),
        None => "--schema".to_owned(),
    };
    let mut command = tokio::process::Command::new(&path);
    command.arg(question).stdin(Stdio::null()).kill_on_drop(true);
    let answered = tokio::time::timeout(ANSWER, command.output()).await;
    let Ok(answered) = answered else {
        bail!("{} has no schemas: it does not answer", path.display());
    };
    let output = answered.with_context(|| format!("cannot run {}", path.display()))?;
    if output.status.success() {
        return Ok(out::text(&String::from_utf8_lossy(&output.stdout))?);
    }
    let why = String::from_utf8_lossy(&output.stderr);
    match why.lines().last() {
        Some(why) if !why.contains("there is no setting --schema") => bail!("{why}"),
        _ => bail!("{} has no schemas", path.display()),
    }
}

/// As a shell tells it: 128 and the signal when one ended it.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    match code.and_then(|code| u8::try_from(code).ok()) {
        Some(code) => ExitCode::from(code),
        None => ExitCode::FAILURE,
    }
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
