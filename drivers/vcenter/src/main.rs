//! The executable: reads a vCenter's events; with `--test` only says what it finds there, with `--schema=CLASS` what
//! the data of an event looks like.

use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;

use dispatch_driver_sdk::Settings;
use dispatch_driver_vcenter::{ABOUT, TestError, Written, payload_schema};

fn main() -> ExitCode {
    match schema().or_else(tested) {
        None => dispatch_driver_sdk::run(&ABOUT, dispatch_driver_vcenter::run),
        Some(Ok(found)) => match std::io::stdout().write_all(found.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        },
        Some(Err(error)) => match writeln!(std::io::stderr(), "{error}") {
            Ok(()) | Err(_) => ExitCode::from(1),
        },
    }
}

/// With `--schema=VmPoweredOnEvent`: the JSON Schema of its data.
fn schema() -> Option<Result<String, String>> {
    let mut settings = Settings::parse(std::env::args().skip(1)).ok()?;
    let class = settings.take("schema")?;
    Some(match payload_schema(&class) {
        Some(schema) => Ok(format!("{schema:#}\n")),
        None => Err(format!(
            "--schema: {class:?} is no event class: write VmPoweredOnEvent or vm.powered.on"
        )),
    })
}

/// With `--test`: what was found, or why nothing was. Wrong arguments are told by an ordinary start.
fn tested() -> Option<Result<String, String>> {
    let mut settings = Settings::parse(std::env::args().skip(1)).ok()?;
    settings.take("test")?;
    let config = settings.config::<Written>(ABOUT.keys).map_err(TestError::from);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = match (config, runtime) {
        (Ok(written), Ok(runtime)) => runtime
            .block_on(dispatch_driver_vcenter::test(written))
            .map_err(|e| line(&e)),
        (Err(error), _) => Err(line(&error)),
        (_, Err(error)) => Err(error.to_string()),
    };
    Some(found)
}

/// An error with its causes.
fn line(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
