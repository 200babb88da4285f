//! The executable: `dispatch-driver-aws --region=eu-west-1 --event-patterns='[{"source":["aws.ec2"]}]'`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatch_driver_sdk::run_or_test(
        &dispatch_driver_aws::ABOUT,
        dispatch_driver_aws::run,
        dispatch_driver_aws::test,
    )
}
