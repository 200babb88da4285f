//! What the settings promise: whom to trust, where to begin, what to read.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::process::Process;
use dispatch_fixtures::vcsim::{Options, Vcsim};

use crate::driving::{SOON, Setting, data};

fn types(hub: &DriverHub) -> BTreeSet<String> {
    hub.events().iter().map(|e| e.ty().to_owned()).collect()
}

/// Digest of the simulator's certificate with colons, by Python.
fn fingerprint(setting: &Setting, digest: &str) -> String {
    let script = "import hashlib, ssl, sys
der = ssl.PEM_cert_to_DER_cert(open(sys.argv[1]).read())
print(hashlib.new(sys.argv[2], der).digest().hex(':').upper())";
    let certificate = setting.vcenter.certificate();
    let python = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(certificate)
        .arg(digest)
        .output()
        .unwrap();
    assert!(
        python.status.success(),
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
    String::from_utf8(python.stdout).unwrap().trim().to_owned()
}

async fn connects(setting: &Setting, args: &[&str]) -> Result<()> {
    let mut driver = setting.driver_with(args, setting.vcenter.credentials().1)?;
    setting.ready(&mut driver).await?;
    assert!(driver.terminate(SOON).await?.success());
    Ok(())
}

async fn is_refused(setting: &Setting, args: &[&str], why: &str) -> Result<()> {
    let before = setting.vcenter.log();
    let mut driver = setting.driver_with(args, setting.vcenter.credentials().1)?;
    let says = |d: &Process| d.stderr().contains(why).then_some(());
    driver.until(why, SOON, says).await?;
    driver.kill()?;
    let log = setting.vcenter.log();
    assert!(
        !log[before.len()..].contains("Envelope"),
        "nothing was sent to a server nobody trusts"
    );
    Ok(())
}

#[tokio::test]
async fn a_certificate_is_trusted_only_as_told() -> Result<()> {
    let Some(setting) = Setting::new(&["-trace"]).await? else {
        return Ok(());
    };
    let Some(other) = Vcsim::start(Options::default()).await? else {
        return Ok(());
    };
    let ca_text = std::fs::read_to_string(setting.vcenter.ca())?;

    connects(&setting, &[&format!("--ca={}", setting.vcenter.ca().display())]).await?;
    connects(&setting, &[&format!("--ca={ca_text}")]).await?;
    connects(
        &setting,
        &[&format!("--thumbprint={}", fingerprint(&setting, "sha256"))],
    )
    .await?;
    connects(
        &setting,
        &[&format!("--thumbprint={}", fingerprint(&setting, "sha1"))],
    )
    .await?;
    connects(&setting, &["--insecure"]).await?;

    is_refused(&setting, &[], "UnknownIssuer").await?;
    is_refused(
        &setting,
        &[&format!("--ca={}", other.ca().display())],
        "BadSignature",
    )
    .await?;
    for (flaw, why) in [("expired", "expired"), ("elsewhere", "not valid for name")] {
        let Some(flawed) = Setting::new(&["-trace", "-cert", flaw]).await? else {
            return Ok(());
        };
        let ca = format!("--ca={}", flawed.vcenter.ca().display());
        is_refused(&flawed, &[&ca], why).await?;
    }
    let wrong = format!("--thumbprint={}", "00".repeat(32));
    is_refused(
        &setting,
        &[&wrong],
        "the server's certificate is not the pinned one",
    )
    .await?;
    let ca = format!("--ca={}", setting.vcenter.ca().display());
    is_refused(
        &setting,
        &[&ca, &wrong],
        "the server's certificate is not the pinned one",
    )
    .await?;
    Ok(())
}

#[tokio::test]
async fn the_first_start_begins_where_it_is_told_and_the_next_goes_on() -> Result<()> {
    for (start, old, older) in [
        ("now", false, false),
        ("30m", true, false),
        ("beginning", true, true),
    ] {
        let Some(setting) = Setting::new(&[]).await? else {
            return Ok(());
        };
        setting
            .vcenter
            .ctl("storm?n=3&late=3600&type=VmMigratedEvent")
            .await?;
        setting
            .vcenter
            .ctl("storm?n=3&late=600&type=VmSuspendedEvent")
            .await?;
        let start = format!("--start={start}");
        let mut driver = setting.driver(&[&start])?;
        setting.ready(&mut driver).await?;
        setting.vcenter.ctl("storm?n=3&type=VmPoweredOffEvent").await?;
        setting
            .until(&driver, "new events", |hub| types(hub).contains("vm.powered.off"))
            .await?;
        driver.kill()?;

        setting.vcenter.ctl("storm?n=3&type=VmResettingEvent").await?;
        let again = setting.driver(&[&start])?;
        setting
            .until(&again, "events of the pause", |hub| {
                types(hub).contains("vm.resetting")
            })
            .await?;

        let types = types(&setting.hub);
        assert_eq!(types.contains("vm.suspended"), old, "{start}: {types:?}");
        assert_eq!(types.contains("vm.migrated"), older, "{start}: {types:?}");
        assert_eq!(
            types.contains("datacenter.created"),
            old || older,
            "{start}: {types:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn only_what_is_asked_for_is_read() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let wanted = "--types=vm.powered.on,VmSuspendedEvent,esx.audit.ssh.enabled";
    let mut driver = setting.driver(&[wanted])?;
    setting.ready(&mut driver).await?;

    for hook in [
        "type=VmPoweredOffEvent",
        "type=DrsVmPoweredOnEvent",
        "type=EventEx&eventTypeId=esx.audit.other",
        "type=EventEx&eventTypeId=esx.audit.ssh.enabled",
        "type=VmSuspendedEvent",
    ] {
        setting.vcenter.ctl(&format!("storm?n=2&{hook}")).await?;
    }

    setting
        .until(&driver, "six events", |hub| hub.count() >= 6)
        .await?;
    let got: Vec<String> = setting.hub.events().iter().map(|e| e.ty().to_owned()).collect();
    let want = [
        "drs.vm.powered.on",
        "drs.vm.powered.on",
        "esx.audit.ssh.enabled",
        "esx.audit.ssh.enabled",
    ];
    assert_eq!(got[..4], want);
    assert_eq!(got[4..], ["vm.suspended", "vm.suspended"]);
    Ok(())
}

#[tokio::test]
async fn only_events_of_the_users_and_severities_asked_for_are_read() -> Result<()> {
    let Some(setting) = Setting::new(&["-trace"]).await? else {
        return Ok(());
    };
    let args = [
        "--users=LAB\\alice,LAB\\bob",
        "--except-users=lab\\BOB",
        "--severities=warning,error",
    ];
    let mut driver = setting.driver(&args)?;
    setting.ready(&mut driver).await?;

    let posted = [
        ("alice", "VmFailedToPowerOnEvent", ""),
        ("alice", "VmPoweredOnEvent", ""),
        ("alice", "EventEx", "&eventTypeId=esx.problem.a&severity=warning"),
        ("alice", "EventEx", "&eventTypeId=esx.audit.b&severity=info"),
        ("bob", "VmFailedToPowerOnEvent", ""),
        ("carol", "VmFailedToPowerOnEvent", ""),
        ("alice", "VmFailedToSuspendEvent", ""),
    ];
    for (user, class, more) in posted {
        let hook = format!("storm?n=2&user=LAB%5C{user}&type={class}{more}");
        setting.vcenter.ctl(&hook).await?;
    }

    setting
        .until(&driver, "the last of them", |hub| {
            types(hub).contains("vm.failed.to.suspend")
        })
        .await?;
    let want = ["vm.failed.to.power.on", "esx.problem.a", "vm.failed.to.suspend"];
    assert_eq!(types(&setting.hub), want.map(str::to_owned).into());
    let asked = setting.vcenter.log();
    assert!(
        asked.contains("<userList>LAB\\alice</userList>") && asked.contains("<category>error</category>"),
        "asked of the server too"
    );
    Ok(())
}

#[tokio::test]
async fn subscriptions_made_for_other_drivers_find_the_types_they_know() -> Result<()> {
    let table = [
        (
            "--scheme=veba",
            "com.vmware.vsphere.VmPoweredOffEvent.v0",
            "com.vmware.vsphere.esx.audit.ssh.enabled.v0",
        ),
        (
            "--scheme=router",
            "com.vmware.event.router/event",
            "com.vmware.event.router/eventex",
        ),
    ];
    for (scheme, class, extended) in table {
        let Some(setting) = Setting::new(&[]).await? else {
            return Ok(());
        };
        let mut driver = setting.driver(&[scheme])?;
        setting.ready(&mut driver).await?;

        setting.vcenter.ctl("storm?n=1&type=VmPoweredOffEvent").await?;
        setting
            .vcenter
            .ctl("storm?n=1&type=EventEx&eventTypeId=esx.audit.ssh.enabled")
            .await?;

        setting
            .until(&driver, "both events", |hub| {
                types(hub).contains(class) && types(hub).contains(extended)
            })
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn only_events_within_a_part_of_the_inventory_are_read() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &["--within=/DC0/vm/DC0_H0_VM1/"]).await? else {
        return Ok(());
    };

    setting.client.power_off("DC0_H0_VM0")?;
    setting.client.power_off("DC0_H0_VM1")?;

    setting
        .until(&driver, "the event of the one", |hub| {
            types(hub).contains("vm.powered.off")
        })
        .await?;
    let names: BTreeSet<String> = setting
        .hub
        .events()
        .iter()
        .map(|e| e.attribute("vmname").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(names, BTreeSet::from(["DC0_H0_VM1".to_owned()]));
    assert!(
        !driver.stderr().contains("shows events"),
        "nothing is awaited that is not wanted"
    );

    let lost = setting.driver(&["--within=/DC0/vm/nobody"])?;
    let told = |hub: &DriverHub| {
        let health = hub.health();
        let mut reasons = health.iter().filter_map(|h| h["reason"].as_str());
        reasons.any(|r| r.contains("nothing at /DC0/vm/nobody"))
    };
    setting.until(&lost, "why there is nothing", told).await?;
    Ok(())
}

#[tokio::test]
async fn what_a_pause_had_too_much_of_is_left_out_and_told() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let two_hours_ago = chrono::Utc::now() - chrono::Duration::hours(2);
    let checkpoint = serde_json::json!({"version": 1, "source": setting.vcenter.url(), "instance": "",
        "since": null, "position": two_hours_ago});
    setting.hub.set_checkpoint(checkpoint.to_string());
    setting
        .vcenter
        .ctl("storm?n=3&late=5400&type=VmMigratedEvent")
        .await?;
    setting
        .vcenter
        .ctl("storm?n=3&late=60&type=VmSuspendedEvent")
        .await?;

    let driver = setting.driver(&["--replay=1h"])?;

    setting
        .until(&driver, "the gap and what follows", |hub| {
            types(hub).contains("vcenter.gap") && types(hub).contains("vm.suspended")
        })
        .await?;
    let all = types(&setting.hub);
    assert!(!all.contains("vm.migrated"), "{all:?}");
    Ok(())
}

#[tokio::test]
async fn the_original_s_vcenterurl_still_works() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let (user, password) = setting.vcenter.credentials();
    let url = format!("{user}:{password}@{}", setting.vcenter.host());
    let ca = format!("--ca={}", setting.vcenter.ca().display());
    let sink = setting.hub.sink();
    let environment = [("VCENTERURL", url.as_str()), ("K_SINK", sink.as_str())];
    let program = Path::new(env!("CARGO_BIN_EXE_dispatch-driver-vcenter"));
    let mut driver = Process::start(program, [&ca], &environment)?;
    setting.ready(&mut driver).await?;

    setting.client.power_off("DC0_H0_VM0")?;

    setting
        .until(&driver, "the event", |hub| types(hub).contains("vm.powered.off"))
        .await?;
    let off = setting
        .hub
        .events()
        .into_iter()
        .find(|e| e.ty() == "vm.powered.off")
        .unwrap();
    assert_eq!(
        (off.source(), &data(&off)["_type"]),
        (setting.vcenter.url().as_str(), &"VmPoweredOffEvent".into())
    );
    assert!(driver.terminate(Duration::from_secs(5)).await?.success());
    Ok(())
}
