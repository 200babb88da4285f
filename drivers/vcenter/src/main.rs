//! The executable: reads a vCenter's events; with `--test` only says what it finds there, with `--since=24h` prints what
//! happened, with `--schema=CLASS` says what the data of an event looks like.

use std::io::Write as _;
use std::process::ExitCode;

use dispatch_driver_sdk::{Failure, Settings, chain, run_or_test};
use dispatch_driver_vcenter::{ABOUT, Written, payload_schema, payload_types, print_since};

fn main() -> ExitCode {
    match schema().or_else(printed) {
        None => run_or_test(&ABOUT, dispatch_driver_vcenter::run, test),
        Some(Ok(found)) => match std::io::stdout().write_all(found.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        },
        Some(Err(error)) => match writeln!(std::io::stderr(), "{error}") {
            Ok(()) | Err(_) => ExitCode::from(1),
        },
    }
}

/// With `--schema=VmPoweredOnEvent`: the JSON Schema of its data. With `--schema`: all types that have one.
fn schema() -> Option<Result<String, String>> {
    let mut settings = Settings::parse(std::env::args().skip(1)).ok()?;
    let class = settings.take("schema")?;
    if class == "true" {
        return Some(Ok(payload_types().join("\n") + "\n"));
    }
    Some(match payload_schema(&class) {
        Some(schema) => Ok(format!("{schema:#}\n")),
        None => Err(format!(
            "--schema: {class:?} is no event class: write VmPoweredOnEvent or vm.powered.on"
        )),
    })
}

/// With `--test`: what was found.
async fn test(written: Written) -> Result<String, Failure> {
    dispatch_driver_vcenter::test(written)
        .await
        .map_err(Failure::failed)
}

/// With `--since=24h`: what happened since, already printed.
fn printed() -> Option<Result<String, String>> {
    let mut settings = Settings::parse(std::env::args().skip(1)).ok()?;
    let begin = settings.take("since")?;
    // `--test --since=24h` prints too.
    settings.take("test");
    Some(print(&settings, &begin))
}

fn print(settings: &Settings, begin: &str) -> Result<String, String> {
    let written: Written = settings.config(ABOUT.keys).map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| e.to_string())?;
    let mut out = std::io::stdout().lock();
    let printed = runtime.block_on(print_since(written, begin, &mut out));
    printed.map(|_| String::new()).map_err(|e| chain(&e))
}
