//! Before the hub is told: settings are tried from the command line.

use anyhow::Result;
use dispatch_fixtures::vcsim::{Options, Vcsim};
use serde_json::json;

use crate::watch;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_are_tried_with_the_files_that_the_hub_will_get() -> Result<()> {
    let Some(simulator) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let hub = watch(&simulator).await?;
    simulator.ctl("storm?n=3&type=VmMigratedEvent").await?;
    let ca = format!("ca={}", simulator.ca().display());
    let with = |secret, more: &[&str]| {
        let command = ["driver", "test", "vcenter", "--set", &ca, "--secret", secret];
        hub.cli(&[&command[..], more].concat())
    };

    let good = with("vc.json", &[])?;
    let past = with("vc.json", &["--set", "since=1h", "--set", "types=vm.migrated"])?;
    let (username, _) = simulator.credentials();
    let wrong = json!({"host": simulator.host(), "username": username, "password": "wr0ng"});
    std::fs::write(hub.scratch().join("wrong.json"), wrong.to_string())?;
    let refused = with("wrong.json", &[])?;
    std::fs::write(hub.scratch().join("odd.json"), "[\"wr0ng\"]")?;
    let odd = with("odd.json", &[])?;

    let said = String::from_utf8(good.stdout)?;
    assert!(
        good.status.success() && said.contains("VMware vCenter Server"),
        "{said}"
    );
    let said = String::from_utf8(past.stdout)?;
    assert!(past.status.success() && said.lines().count() == 3, "{said}");
    let said = String::from_utf8(refused.stderr)?;
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        said.contains("is there and refuses admin") && !said.contains("wr0ng"),
        "{said}"
    );
    let said = String::from_utf8(odd.stderr)?;
    assert!(
        said.contains("odd.json: must be one JSON object") && !said.contains("wr0ng"),
        "{said}"
    );
    Ok(())
}
