//! What an admin tries before a hub is told: settings that work, settings that do not and why, what happened lately.

use anyhow::Result;

use crate::driving::{SOON, Setting, data};

#[tokio::test]
async fn settings_nobody_can_use_end_the_driver_with_one_line() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let table = [
        (
            "--scheme=x",
            "--scheme: \"x\" is not one of dispatch, veba, router",
        ),
        ("--start=soon", "--start: \"soon\" is none of"),
        (
            "--ca=/no/such/file.pem",
            "--ca: cannot read \"/no/such/file.pem\": No such file",
        ),
        ("--hots=x", "there is no setting --hots"),
    ];
    for (arg, message) in table {
        let mut driver = setting.driver_with(&[arg], "x")?;
        let status = driver.ended(SOON).await?;
        assert_eq!(status.code(), Some(1), "{arg}");
        assert!(driver.stderr().contains(message), "{arg}: {}", driver.stderr());
    }
    Ok(())
}

#[tokio::test]
async fn a_test_of_the_settings_says_what_is_there_or_why_nothing_is() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    setting.vcenter.ctl("storm?n=7&type=VmSuspendedEvent").await?;
    let ca = format!("--ca={}", setting.vcenter.ca().display());

    let mut good = setting.driver_with(&["--test", &ca], setting.vcenter.credentials().1)?;
    let mut refused = setting.driver_with(&["--test", &ca], "wr&ng")?;
    let mut untrusted = setting.driver_with(&["--test"], "never sent")?;
    let mut nobody = setting.driver_by("127.0.0.1:1", &["--test", &ca], "x")?;
    // Whoever is asked for the name may not answer.
    let impatient = [("RES_OPTIONS", "timeout:1 attempts:1")];
    let mut nowhere = setting.driver_in(&impatient, "vcenter.invalid", &["--test", &ca], "x")?;

    assert!(good.ended(SOON).await?.success(), "{}", good.stderr());
    let said = good.stdout();
    for part in [
        "server    VMware vCenter Server",
        "clock     as here",
        "events    newest 20",
        "dispatch  vm.suspended  VirtualMachine/vm-57  id ",
        "veba      com.vmware.vsphere.VmSuspendedEvent.v0",
        "router    com.vmware.event.router/event  VmSuspendedEvent",
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    assert_eq!(setting.client.sessions()?, Vec::<String>::new());
    for (tried, why) in [
        (&mut refused, "is there and refuses admin: "),
        (&mut untrusted, "UnknownIssuer"),
        (
            &mut nobody,
            "cannot use https://127.0.0.1:1/sdk: Connection refused",
        ),
        (&mut nowhere, "cannot use https://vcenter.invalid/sdk: dns error"),
    ] {
        assert_eq!(tried.ended(SOON).await?.code(), Some(1));
        assert!(tried.stderr().contains(why), "{}", tried.stderr());
    }

    // What is said of the certificate can be used as it is printed.
    let said = untrusted.stderr();
    let mut words = said.split([' ', ',']);
    let pin = words.find(|word| word.starts_with("--thumbprint=")).unwrap();
    let mut pinned = setting.driver_with(&["--test", pin], setting.vcenter.credentials().1)?;
    assert!(pinned.ended(SOON).await?.success(), "{}", pinned.stderr());
    Ok(())
}

#[tokio::test]
async fn what_happened_can_be_printed_without_a_hub() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let storms = [
        "n=3&late=7200&type=VmMigratedEvent",
        "n=2&late=60&type=VmMigratedEvent",
        "n=2&type=VmSuspendedEvent",
    ];
    for storm in storms {
        setting.vcenter.ctl(&format!("storm?{storm}")).await?;
    }
    let ca = format!("--ca={}", setting.vcenter.ca().display());
    let args = ["--since=1h", "--types=vm.migrated", "--scheme=veba", &ca];

    let mut printing = setting.driver_with(&args, setting.vcenter.credentials().1)?;
    assert!(printing.ended(SOON).await?.success(), "{}", printing.stderr());

    let lines = printing.stdout();
    let events: Vec<dispatch_contract::Event> = lines
        .lines()
        .map(|line| dispatch_contract::Event::from_json(line.as_bytes()))
        .collect::<Result<_, _>>()?;
    let types: Vec<&str> = events.iter().map(|e| e.ty()).collect();
    assert_eq!(types, ["com.vmware.vsphere.VmMigratedEvent.v0"; 2]);
    assert_eq!(data(&events[0])["Vm"]["Vm"]["Value"], "vm-57");
    assert_eq!(setting.hub.count(), 0);
    assert_eq!(setting.client.sessions()?, Vec::<String>::new());
    let mut odd = setting.driver_with(&["--since=soon", &ca], "x")?;
    assert_eq!(odd.ended(SOON).await?.code(), Some(1));
    assert!(
        odd.stderr().contains("--since: \"soon\" is none of"),
        "{}",
        odd.stderr()
    );
    Ok(())
}
