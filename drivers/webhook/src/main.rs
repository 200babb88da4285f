//! The executable: `dispatch-driver-webhook --provider=github`, with the secret in `SECRET`.

use std::process::ExitCode;

use dispatch_driver_sdk::run;
use dispatch_driver_webhook::{ABOUT, drive};

fn main() -> ExitCode {
    run(&ABOUT, drive)
}
