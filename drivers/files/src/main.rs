//! The executable: `dispatch-driver-files --directory=/srv/in`.

use std::process::ExitCode;

use dispatch_driver_files::{ABOUT, drive};
use dispatch_driver_sdk::run;

fn main() -> ExitCode {
    run(&ABOUT, drive)
}
