//! Turns vCenter's event history into events.

fn main() -> std::process::ExitCode {
    dispatch_driver_sdk::run(&dispatch_driver_vcenter::ABOUT, dispatch_driver_vcenter::run)
}
