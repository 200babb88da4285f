//! Nothing of the history is lost, doubled under another id, or out of order; and it comes quickly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::Result;
use axum::http::StatusCode;
use dispatch_fixtures::driver_hub::{Arrived, DriverHub};
use dispatch_fixtures::road::Road;
use serde_json::Value;

use crate::driving::{SOON, Setting, data, id};

/// Keys of what the hub has, in its order.
fn keys(setting: &Setting) -> Vec<i64> {
    let events = setting.hub.events();
    let keys = events.iter().map(|e| data(e)["key"].as_i64().unwrap());
    keys.collect()
}

// The hub of the test answers while pyvmomi is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_powered_off_is_an_event_within_two_seconds() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };

    // A busy machine may hold up an event, but not three.
    let (promised, mut took) = (Duration::from_secs(2), Vec::new());
    for name in ["DC0_H0_VM0", "DC0_H0_VM1", "DC0_C0_RP0_VM0"] {
        let powered = setting.client.power_off(name)?;

        let all_off = |hub: &DriverHub| -> Vec<Arrived> {
            let arrived = hub.arrived().into_iter();
            arrived
                .filter(|a| !a.duplicate && a.event.ty() == "vm.powered.off")
                .collect()
        };
        let before = took.len();
        setting
            .until(&driver, "the event arrives", |hub| all_off(hub).len() > before)
            .await?;
        let arrived = all_off(&setting.hub).remove(before);
        assert_eq!(arrived.event.source(), setting.vcenter.url());
        assert_eq!(
            arrived.event.subject(),
            Some(format!("VirtualMachine/{}", powered.moref).as_str())
        );
        assert_eq!(arrived.event.attribute("vmname"), Some(name));
        let vm = &data(&arrived.event)["vm"];
        assert_eq!(
            (vm["name"].as_str(), vm["vm"]["value"].as_str()),
            (Some(name), Some(powered.moref.as_str()))
        );
        took.push(arrived.at.duration_since(powered.started())?);
        if took[before] < promised {
            break;
        }
    }
    println!("from the power-off to the hub: {took:?}");
    assert!(took.iter().any(|took| *took < promised), "{took:?}");
    Ok(())
}

#[tokio::test]
async fn a_storm_of_5000_arrives_whole_in_order_and_in_time() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };
    let before = setting.hub.count();

    setting.vcenter.ctl("storm?n=5000").await?;
    let began = Instant::now();
    let storm = |hub: &dispatch_fixtures::driver_hub::DriverHub| hub.count() - before >= 5000;
    setting.until(&driver, "5000 events", storm).await?;
    let took = began.elapsed();

    // Five seconds is the promise; a debug build on a busy machine gets twice that.
    assert!(took < Duration::from_secs(10), "{took:?}");
    let keys = keys(&setting);
    assert!(keys.is_sorted(), "in key order");
    assert!(setting.hub.arrived().iter().all(|a| !a.duplicate));
    println!("5000 events in {took:?}, {} posts", setting.hub.posts());
    Ok(())
}

#[tokio::test]
async fn what_the_hub_refuses_comes_again_and_in_order() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };
    setting
        .until(&driver, "the login's own event", |hub| hub.checkpoint().is_some())
        .await?;
    let before = setting.hub.events().len();
    let checkpoint = setting.hub.checkpoint();

    setting.hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    setting.vcenter.ctl("storm?n=500").await?;
    setting
        .until(&driver, "several refusals", |hub| hub.refused() >= 3)
        .await?;
    assert_eq!(
        (setting.hub.events().len(), setting.hub.checkpoint()),
        (before, checkpoint),
        "no progress"
    );
    setting.hub.refuse(None);

    setting
        .until(&driver, "500 events", |hub| hub.events().len() >= before + 500)
        .await?;
    let keys = keys(&setting);
    assert!(keys.is_sorted());
    let ids: BTreeSet<String> = setting.hub.events().iter().map(|e| e.id().to_owned()).collect();
    assert_eq!(ids.len(), keys.len());
    Ok(())
}

#[tokio::test]
async fn kill_9_at_any_moment_loses_nothing_and_doubles_nothing_under_another_id() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut moments = fastrand::Rng::with_seed(seed);
    let mut driver = setting.driver(&["--start=beginning"])?;

    for _ in 0..5 {
        let storm = setting.vcenter.ctl("storm?n=300");
        let moment = Duration::from_millis(moments.u64(0..500));
        let (stormed, ()) = tokio::join!(storm, tokio::time::sleep(moment));
        stormed?;
        driver.kill()?;
        driver = setting.driver(&["--start=beginning"])?;
    }

    let seen = setting.complete(Duration::from_secs(20)).await?;
    assert!(seen.len() >= 1500);
    let known: BTreeSet<String> = setting.client.events()?.iter().map(id).collect();
    let mut payloads: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for arrived in setting.hub.arrived() {
        let event = arrived.event;
        assert!(known.contains(event.id()), "{} is nobody's event", event.id());
        let first = payloads
            .entry(event.id().to_owned())
            .or_insert_with(|| event.to_json());
        assert_eq!(*first, event.to_json(), "the same id is the same event");
    }
    Ok(())
}

#[tokio::test]
async fn an_outage_full_of_storms_is_caught_up() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    let road = Road::to(setting.vcenter.port()).await?;
    let ca = format!("--ca={}", setting.vcenter.ca().display());
    let mut driver = setting.driver_by(&road.host(), &[&ca], setting.vcenter.credentials().1)?;
    setting.ready(&mut driver).await?;
    let since = |hub: &dispatch_fixtures::driver_hub::DriverHub| {
        hub.events().iter().filter(|e| e.ty() == "vm.suspended").count()
    };

    road.cut();
    let storms = 3;
    for _ in 0..storms {
        setting.vcenter.ctl("storm?n=100&type=VmSuspendedEvent").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    assert_eq!(since(&setting.hub), 0, "nothing comes over a road that is cut");
    road.mend();
    let began = Instant::now();

    let all = storms * 100;
    // The longest wait between two attempts is a minute.
    let caught_up = |hub: &dispatch_fixtures::driver_hub::DriverHub| since(hub) == all;
    setting
        .hub
        .until("all of them", Duration::from_secs(120), caught_up)
        .await?;
    println!(
        "{all} events of a time without a vCenter, {:?} after its return",
        began.elapsed()
    );
    assert!(driver.is_running()?);
    Ok(())
}

#[tokio::test]
async fn events_of_a_time_when_no_driver_ran_are_read_later() -> Result<()> {
    let Some((setting, mut driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };
    driver.terminate(SOON).await?;
    let before = setting.hub.count();

    setting.vcenter.ctl("storm?n=700&late=100").await?;
    let driver = setting.driver(&[])?;

    setting
        .until(&driver, "the 700 events", |hub| hub.count() >= before + 700)
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_late_event_is_read_although_the_history_is_past_its_time() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };
    let quiet = setting.hub.events().len();

    setting
        .vcenter
        .ctl("storm?n=1&late=3600&type=VmResettingEvent")
        .await?;
    setting.vcenter.ctl("storm?n=1&type=VmSuspendedEvent").await?;

    let late = |e: &dispatch_contract::Event| e.ty() == "vm.resetting";
    setting
        .until(&driver, "the late event", |hub| hub.events().iter().any(late))
        .await?;
    let others: Vec<String> = setting
        .hub
        .events()
        .iter()
        .skip(quiet)
        .map(|e| e.ty().to_owned())
        .collect();
    let expected = |ty: &String| {
        matches!(
            ty.as_str(),
            "vm.resetting" | "vm.suspended" | "user.login.session"
        )
    };
    assert!(
        others.iter().all(expected),
        "nothing from before the first start: {others:?}"
    );
    Ok(())
}

#[tokio::test]
async fn keys_that_wrap_or_start_over_do_not_stop_the_stream() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };
    let before = setting.hub.count();

    setting.vcenter.ctl("key?key=2147483644").await?;
    setting.vcenter.ctl("storm?n=6").await?;
    setting
        .until(&driver, "events around the wrap", |hub| hub.count() >= before + 6)
        .await?;
    setting.vcenter.ctl("key?key=0").await?;
    setting.vcenter.ctl("storm?n=3").await?;

    setting
        .until(&driver, "events with old keys", |hub| hub.count() >= before + 9)
        .await?;
    assert!(
        setting
            .hub
            .events()
            .iter()
            .any(|e| e.id().starts_with("-2147483648-"))
    );
    Ok(())
}

#[tokio::test]
async fn a_class_the_schema_does_not_know_passes_with_the_rest_of_its_page() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };

    setting
        .vcenter
        .ctl("rename?from=VmResettingEvent&to=AcmeVendorEvent")
        .await?;
    setting.vcenter.ctl("storm?n=2&type=VmResettingEvent").await?;
    setting
        .vcenter
        .ctl("storm?n=1&type=EventEx&eventTypeId=com.vmware.vc.EventBurstCompressedEvent")
        .await?;

    let last = |e: &dispatch_contract::Event| e.ty() == "com.vmware.vc.EventBurstCompressedEvent";
    setting
        .until(&driver, "the event after them", |hub| {
            hub.events().iter().any(last)
        })
        .await?;
    let vendor: Vec<_> = setting
        .hub
        .events()
        .into_iter()
        .filter(|e| e.ty() == "acme.vendor")
        .collect();
    assert_eq!(vendor.len(), 2);
    assert!(
        data(&vendor[0])["_xml"]
            .as_str()
            .unwrap()
            .contains("AcmeVendorEvent")
    );
    Ok(())
}

#[tokio::test]
async fn an_event_that_breaks_its_page_is_passed_on_alone_and_the_others_as_they_are() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };

    setting
        .vcenter
        .ctl("rename?from=VmResettingEvent&to=X%22%3C%3C%FF")
        .await?;
    for ty in [
        "VmSuspendedEvent",
        "VmResettingEvent",
        "VmMigratedEvent",
        "VmResettingEvent",
        "VmPoweredOffEvent",
    ] {
        setting.vcenter.ctl(&format!("storm?n=2&type={ty}")).await?;
    }

    let ten = |hub: &dispatch_fixtures::driver_hub::DriverHub| {
        let of = |ty: &str| hub.events().iter().filter(|e| e.ty() == ty).count();
        [
            of("vm.suspended"),
            of("vm.migrated"),
            of("vm.powered.off"),
            of("unreadable"),
        ] == [2, 2, 2, 4]
    };
    setting
        .until(&driver, "six whole events and four broken ones", ten)
        .await?;
    let broken = setting
        .hub
        .events()
        .into_iter()
        .find(|e| e.ty() == "unreadable")
        .unwrap();
    assert!(data(&broken)["_xml"].as_str().unwrap().contains("storm-0"));
    setting.vcenter.ctl("rename?from=&to=").await?;
    setting.vcenter.ctl("storm?n=300&type=VmStartingEvent").await?;
    let quick = |hub: &dispatch_fixtures::driver_hub::DriverHub| {
        hub.events().iter().filter(|e| e.ty() == "vm.starting").count() == 300
    };
    setting.until(&driver, "many events at once again", quick).await?;
    Ok(())
}

#[tokio::test]
async fn a_history_stuck_behind_invisible_events_goes_on() -> Result<()> {
    let Some((setting, driver)) = Setting::reading(&[], &[]).await? else {
        return Ok(());
    };

    setting.vcenter.ctl("hide?type=VmResettingEvent").await?;
    setting.vcenter.ctl("storm?n=1500&type=VmResettingEvent").await?;
    setting.vcenter.ctl("storm?n=3&type=VmPoweredOffEvent").await?;

    let off = |hub: &dispatch_fixtures::driver_hub::DriverHub| {
        hub.events().iter().filter(|e| e.ty() == "vm.powered.off").count() == 3
    };
    setting.until(&driver, "the three visible events", off).await?;
    Ok(())
}

#[tokio::test]
async fn payloads_are_what_pyvmomi_sees() -> Result<()> {
    let Some(setting) = Setting::new(&[]).await? else {
        return Ok(());
    };
    assert_eq!(setting.client.post()?, 5);
    let _driver = setting.driver(&["--start=beginning"])?;

    let seen = setting.complete(SOON).await?;

    let events: BTreeMap<String, Value> = setting
        .hub
        .events()
        .iter()
        .map(|e| (e.id().to_owned(), data(e)))
        .collect();
    for one in &seen {
        assert_same("", &one.data, &events[&id(one)]);
    }
    assert!(seen.len() > 25);
    Ok(())
}

/// What pyvmomi read is in our event, with the same JSON type; we have nothing more but `_type` and empty values.
fn assert_same(path: &str, theirs: &Value, ours: &Value) {
    match (theirs, ours) {
        (Value::Object(theirs), Value::String(ours)) if theirs.contains_key("micros") => {
            let time = chrono::DateTime::parse_from_rfc3339(ours).unwrap();
            assert_eq!(theirs["micros"], time.timestamp_micros(), "{path}");
        }
        (Value::Object(theirs), Value::Object(ours)) => {
            for (name, value) in theirs {
                let mine = ours
                    .get(name)
                    .unwrap_or_else(|| panic!("{path}.{name} is missing"));
                assert_same(&format!("{path}.{name}"), value, mine);
            }
            let more = ours
                .iter()
                .filter(|(name, value)| !theirs.contains_key(*name) && *name != "_type" && **value != "");
            assert_eq!(more.count(), 0, "{path}: {ours:?} has more than {theirs:?}");
        }
        (Value::Array(theirs), Value::Array(ours)) => {
            assert_eq!(theirs.len(), ours.len(), "{path}");
            for (n, (theirs, ours)) in theirs.iter().zip(ours).enumerate() {
                assert_same(&format!("{path}[{n}]"), theirs, ours);
            }
        }
        (theirs, ours) => assert_eq!(theirs, ours, "{path}"),
    }
}
