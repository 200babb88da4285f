//! The executable: `dispatch-driver-webhook --provider=github`, with the secret in `SECRET`.

use std::process::ExitCode;

use dispatch_driver_sdk::run_or_test;
use dispatch_driver_webhook::{ABOUT, drive, test};

fn main() -> ExitCode {
    run_or_test(&ABOUT, drive, test)
}
