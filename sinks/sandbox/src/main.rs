//! `dispatch-sandbox --policy JSON -- PROGRAM ARGUMENTS…`: applies the policy to itself and becomes the program.
//!
//! Started by the hub for every worker of a function; works alone too. `dispatch-sandbox --probe` prints what the
//! kernel has, as JSON.

#[cfg(target_os = "linux")]
mod inside;

/// What a shell says when a program cannot be run.
#[cfg(target_os = "linux")]
const CANNOT_RUN: u8 = 126;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    match inside::run(std::env::args_os().skip(1).collect()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody reads standard error: then the code alone tells.
            writeln!(std::io::stderr(), "dispatch-sandbox: {error:#}").unwrap_or_default();
            std::process::ExitCode::from(CANNOT_RUN)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> anyhow::Result<()> {
    anyhow::bail!("what contains functions is Linux's: there is nothing to apply on this system")
}
