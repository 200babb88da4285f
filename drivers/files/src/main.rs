//! The executable: `dispatch-driver-files --directory=/srv/in`.

use std::process::ExitCode;

use dispatch_driver_files::{ABOUT, drive, test};
use dispatch_driver_sdk::run_or_test;

fn main() -> ExitCode {
    run_or_test(&ABOUT, drive, test)
}
