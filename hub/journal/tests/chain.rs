//! With a chain, whoever alters the files is found out although every checksum was made again.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use dispatch_contract::{Sequence, SubscriptionId};
use dispatch_journal::{Anchor, DamageKind, Options, verify, verify_against};
use kit::*;
use uuid::Uuid;

fn chained() -> Options {
    Options {
        segment_bytes: 16 * 1024,
        reserve_bytes: 0,
        chain: true,
        tail_bytes: 0,
        ..small()
    }
}

/// A frame, as somebody sees it who knows the format.
#[derive(Debug, Clone)]
struct Frame {
    segment: PathBuf,
    offset: u64,
    bytes: Vec<u8>,
    records: RangeInclusive<Sequence>,
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn length(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

/// All frames with records.
fn frames(dir: &Path) -> Vec<Frame> {
    let mut found = Vec::new();
    for segment in segments(dir) {
        let bytes = std::fs::read(&segment).unwrap();
        let mut at = 4096;
        while bytes.get(at..at + 4) == Some(b"DFr1") {
            let size = (48 + length(&bytes, at + 8)).next_multiple_of(8);
            let (first, count) = (number(&bytes, at + 16), length(&bytes, at + 24) as u64);
            if count > 0 {
                found.push(Frame {
                    segment: segment.clone(),
                    offset: at as u64,
                    bytes: bytes[at..at + size].to_vec(),
                    records: first..=first + count - 1,
                });
            }
            at += size;
        }
    }
    found
}

/// Makes both checksums of a frame again, and puts it into the file.
fn put_back(frame: &mut Frame) {
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&frame.segment)
        .unwrap();
    let mut salt = [0; 8];
    file.read_exact_at(&mut salt, 40).unwrap();
    let seed = crc32c::crc32c(&salt);
    let bytes = &mut frame.bytes;
    let body = crc32c::crc32c_append(seed, &bytes[48..48 + length(bytes, 8)]);
    bytes[12..16].copy_from_slice(&body.to_le_bytes());
    let head = crc32c::crc32c_append(seed, &bytes[8..48]);
    bytes[4..8].copy_from_slice(&head.to_le_bytes());
    file.write_all_at(bytes, frame.offset).unwrap();
}

/// Several segments of groups, closed; the end of the chain.
async fn filled(dir: &Path) -> Anchor {
    let (journal, _) = open(dir, &chained());
    let id = SubscriptionId(Uuid::from_u128(1));
    for n in 0..60 {
        let mut group = sized(&n.to_string(), 700);
        group.settlements = settled(id, n).settlements;
        append(&journal, group).await;
    }
    soon(journal.close()).await;
    let report = verify(dir).unwrap();
    assert!(report.damage.is_empty() && report.segments.len() > 3);
    let chain = report.chain.unwrap();
    assert_eq!((chain.from, chain.end.sequence), (1, report.head));
    chain.end
}

#[tokio::test]
async fn an_altered_record_is_named_although_its_checksums_were_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let base = dir.path().join("base");
    filled(&base).await;

    for n in 0..frames(&base).len() {
        let altered = dir.path().join("altered");
        copy(&base, &altered);
        let mut frame = frames(&altered)[n].clone();
        let at = frame.bytes.windows(3).rposition(|w| w == b"xxx").unwrap();
        frame.bytes[at] = b'y';
        put_back(&mut frame);

        let report = verify(&altered).unwrap();

        let [damage] = &report.damage[..] else {
            panic!("frame {n}: {:?}", report.damage);
        };
        assert_eq!(damage.kind, DamageKind::Altered);
        assert_eq!(
            (&damage.segment, damage.offset, damage.missing.as_ref()),
            (&frame.segment, frame.offset, Some(&frame.records)),
            "frame {n}"
        );
        let said = damage.to_string();
        assert!(said.contains(&format!(
            "at byte {}: records {} to",
            frame.offset,
            frame.records.start()
        )));
        // The hub reads it all the same: only who verifies can know.
        let (journal, recovered) = open(&altered, &chained());
        assert_eq!(recovered.damage, []);
        soon(journal.close()).await;
        std::fs::remove_dir_all(&altered).unwrap();
    }
}

#[tokio::test]
async fn a_record_taken_out_without_a_gap_is_found() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path()).await;
    let newest = segments(dir.path()).pop().unwrap();
    let own: Vec<_> = frames(dir.path())
        .into_iter()
        .filter(|f| f.segment == newest)
        .collect();
    assert!(own.len() > 4);
    // The third is taken out, those behind it move up and get other sequences and checksums; what is left is cut off.
    let mut at = own[2].offset;
    let mut next = *own[2].records.start();
    for frame in &own[3..] {
        let mut moved = frame.clone();
        moved.offset = at;
        moved.bytes[16..24].copy_from_slice(&next.to_le_bytes());
        moved.bytes[40..48].copy_from_slice(&(next - 1).to_le_bytes());
        put_back(&mut moved);
        at += moved.bytes.len() as u64;
        next += 2;
    }
    let file = std::fs::File::options().write(true).open(&newest).unwrap();
    file.set_len(at).unwrap();

    let report = verify(dir.path()).unwrap();

    assert_eq!(report.torn, None);
    let [damage, ..] = &report.damage[..] else {
        panic!("nothing was found");
    };
    assert_eq!((damage.kind, damage.offset), (DamageKind::Altered, own[1].offset));
}

#[tokio::test]
async fn a_chain_made_again_to_its_end_is_found_by_the_end_that_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (kept, forged) = (dir.path().join("kept"), dir.path().join("forged"));
    let end = filled(&kept).await;
    let other = filled(&forged).await;
    assert_eq!(end.sequence, other.sequence);

    // The journal goes on, and what was kept of it still fits.
    let (journal, _) = open(&kept, &chained());
    append(&journal, group(&["more"])).await;
    soon(journal.close()).await;
    let report = verify_against(&kept, end).unwrap();
    assert!(report.met && report.damage.is_empty());
    assert!(!verify_against(&kept, other).unwrap().met);
}

#[tokio::test]
async fn the_chain_goes_through_restarts_crashes_failed_syncs_and_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let mut at = dir.path().join("0");
    std::fs::create_dir(&at).unwrap();
    let mut written = 0;
    for round in 1..8 {
        let disk = FaultyDisk::default();
        let (journal, recovered) = disk.open(&at, &chained());
        assert_eq!(recovered.damage, []);
        for n in 0..20 {
            let fails = (n + round) % 7 == 0;
            disk.0.sync.store(fails, Ordering::SeqCst);
            let said = try_append(&journal, sized(&format!("{round}-{n}"), 500)).await;
            assert_eq!(said.is_err(), fails);
            written += u64::from(!fails);
        }
        disk.0.sync.store(false, Ordering::SeqCst);
        append(&journal, sized(&format!("{round}-last"), 500)).await;
        written += 1;
        let next = dir.path().join(round.to_string());
        // Half of the times as a crash leaves it.
        if round % 2 == 0 {
            copy(&at, &next);
        }
        soon(journal.close()).await;
        if round % 2 == 1 {
            copy(&at, &next);
        }
        at = next;

        let report = verify(&at).unwrap();
        assert_eq!(report.damage, [], "round {round}");
        assert_eq!(
            (report.chain.unwrap().from, report.events),
            (1, written),
            "round {round}"
        );
    }

    // A segment that is lost is named as such; what comes behind it is a chain again.
    let files = segments(&at);
    std::fs::remove_file(&files[2]).unwrap();
    let report = verify(&at).unwrap();
    assert_eq!(report.damage.len(), 1);
    assert_eq!(report.damage[0].kind, DamageKind::Acknowledged);
    let third: Sequence = files[3].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    assert_eq!(report.chain.unwrap().from, third);
}

#[tokio::test]
async fn the_chain_can_be_switched_off_and_on_again() {
    let dir = tempfile::tempdir().unwrap();
    let without = Options {
        chain: false,
        ..chained()
    };
    for (round, options) in [chained(), without.clone(), chained(), without]
        .iter()
        .enumerate()
    {
        let (journal, _) = open(dir.path(), options);
        append(&journal, group(&[&format!("{round}-a")])).await;
        append(&journal, group(&[&format!("{round}-b")])).await;
        soon(journal.close()).await;

        let report = verify(dir.path()).unwrap();
        assert_eq!(report.damage, []);
        assert_eq!(report.segments.len(), round + 1);
        let from = report.chain.map(|c| c.from);
        assert_eq!(from, options.chain.then_some(2 * round as u64 + 1));
        let (journal, _) = open(dir.path(), options);
        assert_eq!(read_all(&journal).await.len(), 2 * round + 2);
        soon(journal.close()).await;
    }
}
