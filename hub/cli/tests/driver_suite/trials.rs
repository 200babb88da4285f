//! `dispatch driver test`: what each driver says of its settings, and how that ends.

use anyhow::{Result, ensure};
use dispatch_fixtures::aws::{Aws, CREDENTIALS, Emulator, REGION};
use dispatch_fixtures::vcsim::{Options, Vcsim};
use serde_json::json;

use crate::examples::{dispatch, example};

/// Exit code, standard output, standard error.
async fn tried(args: &[impl AsRef<str>]) -> Result<(Option<i32>, String, String)> {
    let args = args.iter().map(AsRef::as_ref);
    let output = dispatch(&["driver", "test"].into_iter().chain(args).collect::<Vec<_>>()).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

async fn is_good(args: &[impl AsRef<str>], said: &str) -> Result<()> {
    let (code, stdout, stderr) = tried(args).await?;
    ensure!(
        code == Some(0) && stdout.contains(said),
        "{said:?}: {code:?} {stdout}{stderr}"
    );
    Ok(())
}

async fn is_bad(args: &[impl AsRef<str>], why: &str) -> Result<()> {
    let (code, stdout, stderr) = tried(args).await?;
    ensure!(
        code == Some(1) && stderr.contains(why),
        "{why:?}: {code:?} {stdout}{stderr}"
    );
    ensure!(stdout.is_empty(), "{why:?}: {stdout}");
    Ok(())
}

/// The arguments for a driver with these settings and secrets.
fn with(driver: &str, set: &[String], secrets: &[String]) -> Vec<String> {
    let set = set.iter().flat_map(|set| ["--set".to_owned(), set.clone()]);
    let secrets = secrets
        .iter()
        .flat_map(|secret| ["--secret-env".to_owned(), secret.clone()]);
    [driver.to_owned()]
        .into_iter()
        .chain(set)
        .chain(secrets)
        .collect()
}

#[tokio::test]
async fn a_vcenter_is_tried_with_settings_and_secrets() -> Result<()> {
    let Some(vcenter) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let (user, password) = vcenter.credentials();
    let set = [format!("ca={}", vcenter.ca().display())];
    let secrets = |password: &str| {
        [
            format!("HOST={}", vcenter.host()),
            format!("USERNAME={user}"),
            format!("PASSWORD={password}"),
        ]
    };

    let good = with("vcenter", &set, &secrets(password));
    let wrong = with("vcenter", &set, &secrets("wrong"));

    is_good(&good, "server    VMware vCenter Server").await?;
    is_bad(&wrong, "is there and refuses").await
}

#[tokio::test]
async fn a_queue_is_tried_with_the_secrets_of_aws() -> Result<()> {
    let Some(aws) = Aws::start(Emulator::Ministack).await? else {
        return Ok(());
    };
    let queue = aws.make_queue("orders", json!({})).await?;
    aws.send_messages(&queue, &["one".to_owned()]).await?;
    let secrets = CREDENTIALS.map(|(name, value)| format!("{name}={value}"));
    let with = |set: &str, value: &str| {
        let set = [
            format!("endpoint-url={}", aws.url()),
            format!("region={REGION}"),
            format!("{set}={value}"),
        ];
        with("aws", &set, &secrets)
    };

    is_good(&with("queue-url", &queue), "1 message").await?;
    let pattern = r#"{"source":["my.shop"]}"#;
    is_good(&with("event-patterns", pattern), "made at the first start").await?;
    is_bad(
        &with("queue-url", &format!("{queue}-gone")),
        "cannot read the queue's attributes",
    )
    .await
}

#[tokio::test]
async fn what_needs_nobody_else_is_tried_too() -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::write(folder.path().join("a.csv"), "1")?;
    let directory = format!("directory={}", folder.path().display());

    is_good(&["cron", "--set", "cron=0 9 * * *"], "T09:00:00+00:00").await?;
    is_bad(&["cron", "--set", "cron=61 * * * *"], "--cron: ").await?;
    is_good(
        &["files", "--set", &directory, "--set", "settle=0s"],
        "1 finished",
    )
    .await?;
    is_bad(
        &["files", "--set", "directory=/nowhere/at/all"],
        "cannot read /nowhere/at/all",
    )
    .await?;
    is_good(
        &[
            "webhook",
            "--set",
            "provider=github",
            "--secret-env",
            "SECRET=a,b",
        ],
        "any of 2 secrets",
    )
    .await?;
    is_bad(
        &["webhook", "--set", "provider=nobody", "--secret-env", "SECRET=a"],
        "--provider: ",
    )
    .await?;
    is_good(
        &["eventgrid", "--secret-env", "SHARED_SECRET=a"],
        "deliveries to the driver's url are taken",
    )
    .await?;
    is_bad(
        &[
            "eventgrid",
            "--secret-env",
            "SHARED_SECRET=a",
            "--url",
            "http://127.0.0.1:1/driver/dispatch/eg",
        ],
        "Event Grid would not reach the driver: cannot reach 127.0.0.1",
    )
    .await?;
    is_bad(&["eventgrid"], "--shared-secret: is required").await
}

#[tokio::test]
async fn the_schema_of_a_drivers_events_is_printed_and_which_there_are() -> Result<()> {
    let schema = async |args: &[&str]| dispatch(&[&["driver", "schema"], args].concat()).await;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    let by_class = schema(&["vcenter", "VmPoweredOffEvent"]).await?;
    let by_type = schema(&["vcenter", "vm.powered.off"]).await?;
    let all = schema(&["vcenter"]).await?;
    let unknown = schema(&["vcenter", "vm.powered.of"]).await?;
    let none = schema(&["cron", "cron.trigger"]).await?;

    let printed: serde_json::Value = serde_json::from_slice(&by_class.stdout)?;
    assert_eq!(printed["title"], "VmPoweredOffEvent");
    assert_eq!(by_type.stdout, by_class.stdout);
    assert!(text(&all.stdout).lines().any(|ty| ty == "vm.powered.off"));
    for (output, why) in [
        (unknown, "\"vm.powered.of\" is no event class: write"),
        (none, "dispatch-driver-cron has no schemas"),
    ] {
        let said = text(&output.stderr);
        ensure!(
            output.status.code() == Some(1) && said.contains(why),
            "{why:?}: {said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_driver_without_a_test_is_a_clear_refusal() -> Result<()> {
    let shell = example("shell/lines.sh");

    is_bad(
        &[&shell.to_string_lossy(), "--set", "file=/x"],
        "there is no setting --test",
    )
    .await?;
    is_bad(
        &["nowhere"],
        "there is no executable dispatch-driver-nowhere beside this one or on PATH",
    )
    .await?;
    is_bad(
        &["cron", "--secret-env", "NOT_SET_HERE"],
        "there is no variable NOT_SET_HERE here",
    )
    .await
}
