//! `dispatch driver check` on the three drivers of docs/drivers.md, and on one that keeps no promise.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use anyhow::{Result, ensure};
use dispatch_fixtures::process::built;
use tokio::process::Command;

const LONGEST: std::time::Duration = std::time::Duration::from_secs(170);

async fn checked(driver: &Path, more: &[&str]) -> Result<Output> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("lines");
    std::fs::write(&file, "")?;
    let trigger = format!(
        "for n in $(seq $COUNT); do echo \"door $n opened\" >> '{}'; done",
        file.display()
    );
    let mut command = Command::new(env!("CARGO_BIN_EXE_dispatch"));
    command
        .args(["driver", "check"])
        .arg(driver)
        .arg("--set")
        .arg(format!("file={}", file.display()))
        .args(["--trigger", &trigger])
        .args(more)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Ok(tokio::time::timeout(LONGEST, command.output()).await??)
}

async fn passes(driver: &Path) -> Result<()> {
    let output = checked(driver, &[]).await?;

    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{told}{errors}");
    ensure!(told.matches("| pass").count() >= 8, "{told}");
    Ok(())
}

fn example(path: &str) -> PathBuf {
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

/// Forgets what was not taken, makes up a new id each time and hears no signal.
const CARELESS: &str = r#"#!/bin/sh
trap '' TERM
tail -n 0 -F "${1#--file=}" | while read -r line; do
    curl --silent --header 'ce-specversion: 1.0' --header "ce-id: $(cat /proc/sys/kernel/random/uuid)" \
        --header 'ce-source: /careless' --header 'ce-type: line' --data "$line" "$K_SINK"
done
"#;

#[tokio::test]
async fn a_careless_driver_fails_by_the_names_of_what_it_does_not_keep() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let driver = folder.path().join("careless.sh");
    std::fs::write(&driver, CARELESS)?;
    std::fs::set_permissions(&driver, std::fs::Permissions::from_mode(0o755))?;

    let output = checked(&driver, &["--patience", "3s", "-o", "json"]).await?;

    let findings: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)?;
    let failed: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["verdict"] == "fail")
        .filter_map(|finding| finding["check"].as_str())
        .collect();
    assert_eq!(output.status.code(), Some(1));
    for check in [
        "stops-on-sigterm",
        "stops-without-hub",
        "stable-ids",
        "sends-again",
        "full-hub",
    ] {
        assert!(failed.contains(&check), "{check}: {findings:#?}");
    }
    Ok(())
}
