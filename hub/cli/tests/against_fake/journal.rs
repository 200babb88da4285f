//! `dispatch journal`: what a real journal on this disk looks like from outside.

use std::sync::Arc;

use dispatch_contract::{Event, Group, Log as _, NewEvent, Settled, Settlement, SubscriptionId};
use dispatch_journal::{Journal, Options};
use serde_json::Value;

use crate::hub::FakeHub;

/// A data folder whose journal holds two events and a settlement.
async fn journal_in(hub: &FakeHub) {
    fill(&hub.home().join("data/journal"), Options::default()).await;
}

async fn fill(dir: &std::path::Path, options: Options) {
    let (journal, _) = Journal::open(dir, options).unwrap();
    let event = |id: &str| NewEvent {
        organization: Arc::from("dispatch"),
        event: Event::builder(id, "/s", "t")
            .json(r#"{"n": 1.0}"#)
            .build()
            .unwrap(),
        target: None,
    };
    let settlement = Settlement {
        subscription: SubscriptionId(uuid::Uuid::nil()),
        event: 1,
        settled: Settled::Delivered,
        attempts: 1,
        failures: Vec::new(),
    };
    let events = Group {
        events: vec![event("a"), event("b")],
        ..Group::default()
    };
    let settlements = Group {
        settlements: vec![settlement],
        ..Group::default()
    };
    journal.append(events).await.unwrap();
    journal.append(settlements).await.unwrap();
    journal.close().await;
}

#[tokio::test]
async fn a_dump_is_a_line_of_json_for_each_record_with_the_data_as_it_came() {
    let hub = FakeHub::start().await;
    journal_in(&hub).await;

    let dumped = hub.prints(&["journal", "dump", "--data", "data"]).await;
    let one = hub
        .prints(&["journal", "dump", "data/journal", "--from", "2", "--limit", "1"])
        .await;

    let lines: Vec<Value> = dumped
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["event", "event", "settlement"]);
    assert_eq!(lines[1]["event"]["id"], "b");
    assert_eq!(lines[2]["about"]["settled"], "delivered");
    assert!(dumped.contains(r#""data":{"n": 1.0}"#), "{dumped}");
    assert_eq!(one.lines().count(), 1);
    assert!(one.starts_with(r#"{"sequence":2,"#), "{one}");
}

#[tokio::test]
async fn the_end_of_a_chain_is_printed_and_a_journal_that_does_not_go_through_it_exits_with_1() {
    let hub = FakeHub::start().await;
    let chained = Options {
        chain: true,
        ..Options::default()
    };
    for name in ["data", "other"] {
        fill(&hub.home().join(name).join("journal"), chained.clone()).await;
    }

    let said = hub.prints(&["journal", "verify", "data"]).await;
    let (before, end) = said.trim_end().rsplit_once(' ').unwrap();
    assert!(before.ends_with("chained from 1 on, ends in"), "{said}");
    hub.prints(&["journal", "verify", "data", "--expect", end]).await;
    let refused = hub.run(&["journal", "verify", "other", "--expect", end]).await;

    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains(&format!("the chain does not go through {end}")),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn a_sound_journal_is_counted_and_a_damaged_one_exits_with_1() {
    let hub = FakeHub::start().await;
    journal_in(&hub).await;

    let sound = hub.prints(&["journal", "verify", "data"]).await;
    let segment = std::fs::read_dir(hub.home().join("data/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.metadata().unwrap().len() > 4096)
        .max()
        .unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let at = bytes.windows(2).position(|window| window == b"/s").unwrap();
    bytes[at] = b'?';
    std::fs::write(&segment, bytes).unwrap();
    let damaged = hub.run(&["journal", "verify", "data", "-o", "json"]).await;

    assert!(
        sound.contains("records 1 to 3: 2 events, 1 settlements"),
        "{sound}"
    );
    assert_eq!(damaged.code, 1);
    assert!(
        damaged.stderr.starts_with("the journal is damaged"),
        "{}",
        damaged.stderr
    );
    let report: Value = serde_json::from_str(&damaged.stdout).unwrap();
    assert!(
        report["damage"][0].as_str().unwrap().contains("at byte"),
        "{report}"
    );
}

#[tokio::test]
async fn no_journal_is_no_sound_journal() {
    let hub = FakeHub::start().await;

    let ended = hub.run(&["journal", "verify", "--data", "nowhere"]).await;

    assert_eq!(
        (ended.code, ended.stderr.as_str()),
        (1, "there is no journal in nowhere/journal\n")
    );
}
