//! Whichever operation of the disk fails, and whenever the power goes: what was acknowledged is there, once and in its
//! place, and the journal goes on when the disk does.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{AppendError, Log, Placed, Record, Sequence, SubscriptionId};
use dispatch_journal::{DamageKind, Journal, Next, Options, Recovered, Work, verify};
use kit::memory::Memory;
use kit::*;
use uuid::Uuid;

const DIR: &str = "/journal";
const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const SUBSCRIPTION: SubscriptionId = SubscriptionId(Uuid::from_u128(1));

fn options() -> Options {
    Options {
        segment_bytes: 16 * 1024,
        reserve_bytes: 16 * 1024,
        tail_bytes: 0,
        chain: true,
        retain_bytes: Some(40 * 1024),
        ..small()
    }
}

/// What producers were told.
#[derive(Default)]
struct Told {
    events: BTreeMap<Sequence, String>,
    noted: Vec<Sequence>,
}

struct Hub {
    journal: Journal,
    work: Work,
    clock: Arc<Hands>,
    recovered: Recovered,
}

impl Hub {
    fn open(disk: &Memory) -> Result<Self, dispatch_journal::OpenError> {
        let clock = Arc::new(Hands::default());
        let disk = Arc::new(disk.clone());
        let (journal, recovered, work) =
            Journal::open_manual(disk, Path::new(DIR), &options(), clock.clone())?;
        Ok(Self {
            journal,
            work,
            clock,
            recovered,
        })
    }

    fn work(&mut self) {
        while self.work.step() == Next::More {}
    }

    /// Several at once, so that they share a sync.
    async fn append(&mut self, ids: &[String], size: usize, told: &mut Told) -> Vec<AppendError> {
        let journal = self.journal.clone();
        let mut waiting: Vec<_> = ids.iter().map(|id| journal.append(sized(id, size))).collect();
        for appended in &mut waiting {
            assert!(futures_util::poll!(appended).is_pending());
        }
        self.work();
        let mut refused = Vec::new();
        for (id, appended) in ids.iter().zip(waiting) {
            match soon(appended).await {
                Ok(appended) => {
                    let (Placed::New(at) | Placed::Duplicate(at)) = appended.placed[0];
                    told.events.insert(at, id.clone());
                }
                Err(error) => refused.push(error),
            }
        }
        refused
    }

    /// Events of several sizes over several segments, settlements, retention.
    async fn live(&mut self, told: &mut Told) {
        for n in 0..24 {
            let ids: Vec<_> = (0..n % 3 + 1).map(|i| format!("{n}-{i}")).collect();
            self.append(&ids, 200 + n * 97 % 1500, told).await;
            if let Some((at, _)) = told.events.last_key_value() {
                let at = *at;
                soon(self.journal.note(settled(SUBSCRIPTION, at))).await.unwrap();
                told.noted.push(at);
            }
            self.clock.pass(Duration::from_millis(300));
            self.journal.set_floor(self.journal.head().saturating_sub(20));
            self.work();
        }
    }

    /// After the disk was mended nothing that was noted is forgotten.
    fn settled(&self, told: &Told, what: &str) {
        let progress = self.recovered.progress.get(&SUBSCRIPTION);
        for at in &told.noted {
            assert!(
                progress.is_some_and(|p| p.covers(*at)),
                "{what}: {at} was settled"
            );
        }
    }

    /// Everything that was told, and retention did not take, is there in its place; nothing twice.
    async fn holds(&self, told: &Told, what: &str) {
        let entries = read_all(&self.journal).await;
        let first = self.journal.stats().first;
        let found: BTreeMap<_, _> = entries
            .iter()
            .filter_map(|e| match &e.record {
                Record::Event(c) => Some((e.sequence, c.event.id().to_owned())),
                _ => None,
            })
            .collect();
        for (at, id) in told.events.range(first..) {
            assert_eq!(found.get(at), Some(id), "{what}: record {at}");
        }
        let mut ids: Vec<_> = found.values().collect();
        ids.sort();
        let all = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), all, "{what}: an event is there twice");
    }

    /// What `verify` says of the files: no hash is wrong, whatever happened.
    fn is_chained(disk: &Memory, what: &str) {
        let dir = tempfile::tempdir().unwrap();
        for (path, bytes) in disk.files() {
            std::fs::write(dir.path().join(path.file_name().unwrap()), bytes).unwrap();
        }
        let report = verify(dir.path()).unwrap();
        let altered = report.damage.iter().find(|d| d.kind == DamageKind::Altered);
        assert_eq!(altered, None, "{what}");
        assert!(report.chain.is_some() || report.head == 0, "{what}");
    }
}

/// How many operations an undisturbed life takes.
async fn operations() -> u64 {
    let disk = Memory::default();
    let mut hub = Hub::open(&disk).unwrap();
    let mut told = Told::default();
    hub.live(&mut told).await;
    hub.holds(&told, "undisturbed").await;
    let stats = hub.journal.stats();
    assert!(stats.dropped > 0 && stats.segments > 1, "{stats:?}");
    disk.operations()
}

#[tokio::test(start_paused = true)]
async fn whichever_operation_fails_what_was_acknowledged_is_kept_and_the_journal_goes_on() {
    let all = operations().await;
    assert!(all > 150, "{all}");
    let mut refusals = 0;
    for errno in [ENOSPC, EIO, EMFILE] {
        for at in 0..all {
            for count in [[1, 2, 7][(at % 3) as usize], u64::MAX] {
                let what = format!("error {errno}, {count} times from operation {at}");
                let disk = Memory::default();
                disk.fail(at, count, errno);
                let Ok(mut hub) = Hub::open(&disk) else {
                    assert!(at < 30, "{what}");
                    continue;
                };
                let mut told = Told::default();
                hub.live(&mut told).await;

                disk.mend();
                hub.clock.pass(Duration::from_secs(1));
                hub.work();
                let refused = hub.append(&["last".to_owned()], 300, &mut told).await;
                assert!(refused.is_empty(), "{what}: {refused:?}");
                assert_eq!(disk.trusted(), Vec::<std::path::PathBuf>::new(), "{what}");
                hub.holds(&told, &what).await;
                assert_eq!(hub.journal.stats().damaged, 0, "{what}");
                refusals += usize::from(told.events.len() < 49);

                let disk = disk.after_power_loss(&mut Dice(at));
                drop(hub);
                let hub = Hub::open(&disk).unwrap();
                hub.holds(&told, &what).await;
                hub.settled(&told, &what);
                if at % 5 == 0 {
                    Hub::is_chained(&disk, &what);
                }
            }
        }
    }
    assert!(refusals > 100, "the faults hardly mattered: {refusals}");
}

#[tokio::test(start_paused = true)]
async fn whenever_the_power_goes_what_was_acknowledged_is_kept() {
    let all = operations().await;
    let mut dice = Dice(7);
    let mut repaired = 0;
    for at in 0..all {
        let disk = Memory::default();
        disk.fail(at, u64::MAX, EIO);
        let mut told = Told::default();
        let hub = match Hub::open(&disk) {
            Ok(mut hub) => {
                hub.live(&mut told).await;
                Some(hub)
            }
            Err(_) => None,
        };
        for round in 0..4 {
            let what = format!("power lost at operation {at}, round {round}");
            let disk = disk.after_power_loss(&mut dice);
            let mut hub = Hub::open(&disk).unwrap();
            repaired += usize::from(hub.recovered.torn.is_some() || !hub.recovered.damage.is_empty());
            for damage in &hub.recovered.damage {
                assert_eq!(damage.kind, DamageKind::LastBatch, "{what}: {damage}");
            }
            hub.holds(&told, &what).await;
            let refused = hub.append(&["after".to_owned()], 300, &mut Told::default()).await;
            assert!(refused.is_empty(), "{what}: {refused:?}");
            hub.holds(&told, &what).await;
            if round == 0 {
                Hub::is_chained(&disk, &what);
            }
        }
        drop(hub);
    }
    assert!(repaired > 20, "hardly anything was torn: {repaired}");
}

#[tokio::test(start_paused = true)]
async fn reads_that_come_short_lose_nothing() {
    let disk = Memory::default();
    disk.read_at_most(37);
    let mut hub = Hub::open(&disk).unwrap();
    let mut told = Told::default();
    hub.live(&mut told).await;
    hub.holds(&told, "running").await;
    drop(hub);

    let hub = Hub::open(&disk).unwrap();

    assert_eq!(hub.recovered.damage, []);
    hub.holds(&told, "opened again").await;
}
