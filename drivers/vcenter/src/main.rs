//! The executable: reads a vCenter's events; with `--test` only says what it finds there, with `--schema=CLASS` what
//! the data of an event looks like.

use std::io::Write as _;
use std::process::ExitCode;

use dispatch_driver_sdk::{Failure, Settings, run_or_test};
use dispatch_driver_vcenter::{ABOUT, Written, payload_schema};

fn main() -> ExitCode {
    match schema() {
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

async fn test(written: Written) -> Result<String, Failure> {
    dispatch_driver_vcenter::test(written)
        .await
        .map_err(Failure::failed)
}
