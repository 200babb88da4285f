//! The executable: `dispatch-driver-eventgrid`, with the secret in `SHARED_SECRET`.

use std::process::ExitCode;

use dispatch_driver_eventgrid::{ABOUT, drive, test};
use dispatch_driver_sdk::run_or_test;

fn main() -> ExitCode {
    run_or_test(&ABOUT, drive, test)
}
