//! The executable: `dispatch-driver-eventgrid`, with the secret in `SHARED_SECRET`.

use std::process::ExitCode;

use dispatch_driver_eventgrid::{ABOUT, drive};
use dispatch_driver_sdk::run;

fn main() -> ExitCode {
    run(&ABOUT, drive)
}
