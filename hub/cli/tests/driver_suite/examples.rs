//! `dispatch driver check` on the three drivers of docs/drivers.md.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Result, ensure};
use dispatch_fixtures::process::built;
use tokio::process::Command;

const LONGEST: std::time::Duration = std::time::Duration::from_secs(170);

/// The command line, with these arguments.
pub(crate) async fn dispatch(args: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    Ok(tokio::time::timeout(LONGEST, command.output()).await??)
}

/// What `dispatch driver check` says of a driver that reads the lines of a file.
pub(crate) async fn checked(driver: &Path, more: &[&str]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lines").display().to_string();
    std::fs::write(&file, "")?;
    let trigger = format!("for n in $(seq $COUNT); do echo \"door $n opened\" >> '{file}'; done");
    let malformed = format!("printf '\\377\\n' >> '{file}'");
    let (driver, set) = (driver.to_string_lossy(), format!("file={file}"));
    let args = [
        "driver",
        "check",
        &driver,
        "--set",
        &set,
        "--trigger",
        &trigger,
        "--malformed",
        &malformed,
    ];
    dispatch(&[&args, more].concat()).await
}

async fn passes(driver: &Path) -> Result<()> {
    let output = checked(driver, &[]).await?;

    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{told}{errors}");
    ensure!(told.matches("| pass").count() == 9, "{told}");
    Ok(())
}

/// A file of `examples/drivers`.
pub(crate) fn example(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../examples/drivers")
        .join(path)
}

#[tokio::test]
async fn the_driver_in_shell_passes() -> Result<()> {
    passes(&example("shell/lines.sh")).await
}

#[tokio::test]
async fn the_driver_in_python_passes() -> Result<()> {
    passes(&example("python/lines.py")).await
}

#[tokio::test]
async fn the_driver_in_rust_passes() -> Result<()> {
    passes(&built("dispatch-driver-lines")?).await
}
