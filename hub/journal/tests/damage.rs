//! Whatever happened to the files: it opens, nothing that was promised is lost in silence, the rest reads back equal.
// A helper's unwrap is a test's failure.
#![allow(clippy::unwrap_used)]

mod kit;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use dispatch_contract::{Entry, Group, Log, Sequence, SubscriptionId};
use dispatch_journal::{Damage, DamageKind, Options, Torn, dump, verify};
use kit::*;
use uuid::Uuid;

/// Segments of a few records, so that damage meets every kind of place.
fn tiny() -> Options {
    Options {
        segment_bytes: 16 * 1024,
        reserve_bytes: 0,
        tail_bytes: 0,
        ..small()
    }
}

/// A folder as a crash leaves it: groups of every kind, over several segments, never closed.
async fn crashed(dir: &Path, groups: u64) -> Vec<Entry> {
    let running = dir.join("running");
    let (journal, _) = open(&running, &tiny());
    let id = SubscriptionId(Uuid::from_u128(1));
    for n in 0..groups {
        let mut group = sized(&n.to_string(), if n + 3 < groups { 300 } else { 3 });
        group.events.push(new_event(&format!("{n}b"), 2));
        group.settlements = settled(id, n + 1).settlements;
        if n % 7 == 0 {
            group.through = through(id, n).through;
        }
        group.checkpoint = Some(checkpoint("d", &n.to_string()));
        append(&journal, group).await;
    }
    let entries = read_all(&journal).await;
    copy(&running, &dir.join("crashed"));
    soon(journal.close()).await;
    entries
}

fn by_sequence(entries: &[Entry]) -> BTreeMap<Sequence, String> {
    entries.iter().map(|e| (e.sequence, said(e))).collect()
}

fn lost(damage: &[Damage]) -> BTreeSet<Sequence> {
    damage
        .iter()
        .filter_map(|d| d.missing.clone())
        .flatten()
        .collect()
}

/// The places of all frames with records, from what `dump` says.
fn frames(dir: &Path) -> Vec<(PathBuf, u64, Vec<Sequence>)> {
    let mut found: Vec<(PathBuf, u64, Vec<Sequence>)> = Vec::new();
    let damage = dump(dir, 0, |located| {
        match found.last_mut() {
            Some(last) if (&last.0, last.1) == (&located.segment, located.offset) => {
                last.2.push(located.entry.sequence);
            }
            _ => found.push((located.segment, located.offset, vec![located.entry.sequence])),
        }
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(damage.unwrap(), []);
    found
}

#[tokio::test]
async fn cut_at_every_byte_of_its_last_three_groups_it_loses_only_groups_that_are_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let entries = by_sequence(&crashed(dir.path(), 16).await);
    let base = dir.path().join("crashed");
    let frames = frames(&base);
    let [.., (segment, first, _), _, _] = frames.as_slice() else {
        panic!("there are three groups");
    };
    let disk = FaultyDisk::idle();
    let report = verify(&base).unwrap();
    let end = report.segments.last().unwrap().bytes;
    assert_eq!(report.torn, None);
    assert!(end - first > 500);

    for at in *first..=end {
        for zeros in [false, true] {
            let cut = dir.path().join("cut");
            copy(&base, &cut);
            let file = std::fs::File::options()
                .write(true)
                .open(cut.join(segment.file_name().unwrap()))
                .unwrap();
            let size = file.metadata().unwrap().len();
            file.set_len(at).unwrap();
            if zeros {
                file.set_len(size).unwrap();
            }

            let (journal, recovered) = disk.open(&cut, &tiny());

            let whole: Vec<_> = frames
                .iter()
                .zip(frames.iter().skip(1).map(|f| (&f.0, f.1)).chain([(segment, end)]))
                .filter(|(frame, (next, to))| frame.0 != *segment || *next != segment || *to <= at + 7)
                .map(|(frame, _)| frame)
                .collect();
            let last = *whole.last().unwrap().2.last().unwrap();
            let left = read_all(&journal).await;
            let read = by_sequence(&left);
            assert_eq!(recovered.damage, [], "cut at {at}");
            // Up to seven bytes of padding may be gone without harm.
            assert!(
                recovered.head == last || recovered.head == previous_head(&whole),
                "cut at {at}: head {} of {last}",
                recovered.head
            );
            assert!(
                read.iter().eq(entries.range(..=recovered.head)),
                "cut at {at}: what is left reads back equal"
            );
            let checkpoint = journal.checkpoint("dispatch", "d").unwrap();
            let events = ids(&left);
            assert_eq!(
                events.last().unwrap().trim_end_matches('b').as_bytes(),
                checkpoint,
                "cut at {at}: the checkpoint is as old as the events"
            );
            soon(journal.close()).await;
            std::fs::remove_dir_all(&cut).unwrap();
        }
    }
}

fn previous_head(whole: &[&(PathBuf, u64, Vec<Sequence>)]) -> Sequence {
    *whole[whole.len() - 2].2.last().unwrap()
}

#[tokio::test]
async fn any_flipped_bit_is_survived_and_what_it_damaged_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let entries = by_sequence(&crashed(dir.path(), 30).await);
    let all: BTreeSet<_> = entries.keys().copied().collect();
    let disk = FaultyDisk::idle();
    let mut dice = Dice(2026);
    let bases = [dir.path().join("crashed"), dir.path().join("running")];
    let (mut named, mut torn_ends) = (0, 0);

    for round in 0..1000 {
        let flipped = dir.path().join("flipped");
        copy(&bases[round % 2], &flipped);
        let (file, bit) = flip(&flipped, &mut dice);
        let what = format!("round {round}: bit {bit} of {}", file.display());

        let report = verify(&flipped).unwrap();
        let (journal, recovered) = disk.open(&flipped, &tiny());
        let read = read_all(&journal).await;

        let readable = by_sequence(&read);
        for (sequence, text) in &readable {
            assert_eq!(entries.get(sequence), Some(text), "{what}");
        }
        let gone: BTreeSet<_> = all
            .difference(&readable.keys().copied().collect())
            .copied()
            .collect();
        let mut told = lost(&report.damage);
        assert_eq!(report.torn, recovered.torn, "{what}");
        if let Some(Torn { records, offset, .. }) = &report.torn {
            torn_ends += 1;
            assert!(
                *offset <= bit / 8 && file == report.torn.as_ref().unwrap().segment,
                "{what}"
            );
            match records {
                Some(records) => told.extend(records.clone()),
                // Its head is what was damaged: only the last group can be meant.
                None => told.extend(recovered.head + 1..=*all.last().unwrap()),
            }
        }
        assert_eq!(told, gone, "{what}: {:?}", report.damage);
        for damage in &report.damage {
            named += 1;
            let place = damage.offset..damage.offset + damage.bytes;
            assert_eq!(damage.segment, file, "{what}: {damage}");
            assert!(place.contains(&(bit / 8)), "{what}: {damage}");
        }
        assert!(told.len() <= 5, "{what}: one bit costs one group");
        assert_eq!(
            journal.stats().damaged,
            lost(&report.damage).len() as u64,
            "{what}: counted once"
        );

        let appended = append(&journal, group(&["after"])).await;
        assert_eq!(appended.accepted(), 1);
        soon(journal.close()).await;
        let (journal, again) = disk.open(&flipped, &tiny());
        assert_eq!(again.torn, None, "{what}");
        assert_eq!(again.head, recovered.head + 1, "{what}");
        assert_eq!(ids(&read_all(&journal).await).last().unwrap(), "after", "{what}");
        soon(journal.close()).await;
        std::fs::remove_dir_all(&flipped).unwrap();
    }
    assert!(named > 300 && torn_ends > 0, "{named} named, {torn_ends} torn");
}

/// Flips a bit of what was written in some segment.
fn flip(dir: &Path, dice: &mut Dice) -> (PathBuf, u64) {
    let files = segments(dir);
    let path = files[dice.roll(files.len() as u64) as usize].clone();
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let written = bytes.iter().rposition(|b| *b != 0).unwrap() as u64 + 1;
    let bit = dice.roll(written * 8);
    let byte = bytes[(bit / 8) as usize] ^ (1 << (bit % 8));
    file.write_all_at(&[byte], bit / 8).unwrap();
    (path, bit)
}

#[tokio::test]
async fn a_lost_sector_in_the_middle_costs_the_groups_in_it_and_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let entries = by_sequence(&crashed(dir.path(), 60).await);
    let base = dir.path().join("crashed");
    let frames = frames(&base);
    let newest = segments(&base).pop().unwrap();

    for n in [1, frames.len() - 3] {
        let broken = dir.path().join(format!("broken-{n}"));
        copy(&base, &broken);
        let (segment, offset, _) = &frames[n];
        let path = broken.join(segment.file_name().unwrap());
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        // From the middle of one frame into the next.
        let next = frames[n + 1].1;
        file.write_all_at(&vec![0; (next + 10 - offset - 20) as usize], offset + 20)
            .unwrap();
        let expected: BTreeSet<_> = [&frames[n].2[..], &frames[n + 1].2[..]]
            .concat()
            .into_iter()
            .collect();

        let report = verify(&broken).unwrap();
        let (journal, recovered) = open(&broken, &tiny());
        let read = by_sequence(&read_all(&journal).await);

        assert_eq!(lost(&report.damage), expected);
        assert_eq!(report.damage.len(), 1);
        assert_eq!(
            (&report.damage[0].segment, report.damage[0].offset),
            (&path, *offset)
        );
        assert_eq!(report.damage[0].kind, DamageKind::Acknowledged);
        if segment.file_name() == newest.file_name() {
            assert_eq!(
                recovered.damage, report.damage,
                "opening reads the newest segment"
            );
        }
        let left: BTreeMap<_, _> = entries
            .iter()
            .filter(|(s, _)| !expected.contains(s))
            .map(|(s, t)| (*s, t.clone()))
            .collect();
        assert_eq!(read, left);
        soon(journal.close()).await;
    }
}

#[tokio::test]
async fn a_segment_that_is_missing_or_has_lost_its_head_is_named_with_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let entries = by_sequence(&crashed(dir.path(), 60).await);
    let base = dir.path().join("crashed");
    let files = segments(&base);
    assert!(files.len() >= 4, "{}", files.len());
    let first_of =
        |n: usize| -> Sequence { files[n].file_stem().unwrap().to_str().unwrap().parse().unwrap() };

    for whole in [true, false] {
        for n in 1..files.len() {
            let broken = dir.path().join(format!("{whole}-{n}"));
            copy(&base, &broken);
            let path = broken.join(files[n].file_name().unwrap());
            if whole {
                std::fs::remove_file(&path).unwrap();
            } else {
                let file = std::fs::File::options().write(true).open(&path).unwrap();
                file.write_all_at(&[0; 4096], 0).unwrap();
            }
            let newest = n + 1 == files.len();

            let (journal, recovered) = open(&broken, &tiny());
            let read = by_sequence(&read_all(&journal).await);

            let until = if newest { Sequence::MAX } else { first_of(n + 1) };
            let left: BTreeMap<_, _> = entries
                .iter()
                .filter(|(s, _)| **s < first_of(n) || **s >= until)
                .map(|(s, t)| (*s, t.clone()))
                .collect();
            assert_eq!(read, left, "file {n}, missing {whole}");
            if !(newest && whole) {
                let expected: BTreeSet<_> = entries
                    .keys()
                    .copied()
                    .filter(|s| !left.contains_key(s))
                    .collect();
                assert!(
                    lost(&recovered.damage).is_superset(&expected),
                    "file {n}, missing {whole}: {:?}",
                    recovered.damage
                );
            }
            let appended = append(&journal, group(&["after"])).await;
            assert_eq!(appended.accepted(), 1);
            soon(journal.close()).await;
            let (journal, _) = open(&broken, &tiny());
            assert_eq!(ids(&read_all(&journal).await).last().unwrap(), "after");
            soon(journal.close()).await;
        }
    }
}

#[tokio::test]
async fn the_oldest_segments_are_missed_unless_retention_took_them() {
    let dir = tempfile::tempdir().unwrap();
    let entries = by_sequence(&crashed(dir.path(), 60).await);
    let base = dir.path().join("crashed");
    let files = segments(&base);
    let third: Sequence = files[2].file_stem().unwrap().to_str().unwrap().parse().unwrap();
    for file in &files[..2] {
        std::fs::remove_file(file).unwrap();
    }

    let report = verify(&base).unwrap();
    let (journal, recovered) = open(&base, &tiny());

    assert_eq!(recovered.damage, report.damage);
    let [missing] = &report.damage[..] else {
        panic!("one range: {:?}", report.damage);
    };
    assert_eq!(missing.kind, DamageKind::Missing);
    assert_eq!(missing.missing, Some(1..=third - 1));
    assert!(missing.to_string().ends_with(&format!(
        "00000000000000000001.log is missing, records 1 to {} lost",
        third - 1
    )));
    let read = by_sequence(&read_all(&journal).await);
    assert!(read.iter().eq(entries.range(third..)));
    soon(journal.close()).await;

    let options = Options {
        retain_bytes: Some(0),
        ..tiny()
    };
    let (journal, _) = open(&base, &options);
    journal.set_floor(journal.head());
    until("retention removed all but the newest", || {
        segments(&base).len() == 1
    })
    .await;
    soon(journal.close()).await;
    assert_eq!(verify(&base).unwrap().damage, [], "that was retention");
}

#[tokio::test]
async fn a_damaged_snapshot_is_made_up_for_by_the_segment_before() {
    let dir = tempfile::tempdir().unwrap();
    crashed(dir.path(), 60).await;
    let base = dir.path().join("crashed");
    let intact = dir.path().join("intact");
    copy(&base, &intact);
    let (journal, expected) = open(&intact, &tiny());
    soon(journal.close()).await;
    let newest = segments(&base).pop().unwrap();
    let file = std::fs::File::options().write(true).open(newest).unwrap();
    file.write_all_at(&[0xff; 60], 4096).unwrap();

    let (journal, recovered) = open(&base, &tiny());

    assert_eq!(recovered.progress, expected.progress);
    assert_eq!(recovered.head, expected.head);
    assert_eq!(recovered.damage.len(), 1);
    assert_eq!(recovered.damage[0].missing, None);
    assert_eq!(journal.checkpoint("dispatch", "d").unwrap(), "59");
    soon(journal.close()).await;
}

#[tokio::test]
async fn what_lies_behind_the_repaired_end_never_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(&dir.path().join("a"), &small());
    append(&journal, group(&["first"])).await;
    // Three groups of the same size and shape as those that will follow.
    for id in ["old-1", "old-2", "old-3"] {
        append(&journal, group(&[id])).await;
    }
    let base = dir.path().join("b");
    copy(&dir.path().join("a"), &base);
    soon(journal.close()).await;
    // The crash tore the first of the last three and, later in the file, the head of each.
    let frames = frames(&base);
    let segment = &segments(&base)[0];
    let file = std::fs::File::options()
        .read(true)
        .write(true)
        .open(segment)
        .unwrap();
    for (_, offset, _) in &frames[1..] {
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset + 5).unwrap();
        file.write_all_at(&[!byte[0]], offset + 5).unwrap();
    }

    let (journal, recovered) = open(&base, &small());
    assert!(recovered.torn.is_some());
    append(&journal, group(&["new-1"])).await;
    copy(&base, &dir.path().join("c"));
    soon(journal.close()).await;

    let (journal, recovered) = open(&dir.path().join("c"), &small());
    assert_eq!(ids(&read_all(&journal).await), ["first", "new-1"]);
    assert!(recovered.torn.is_none() && recovered.damage.is_empty());
    soon(journal.close()).await;
}

#[tokio::test]
async fn a_hole_in_the_last_batch_is_named_once_and_no_damage_of_what_was_acknowledged_ever_after() {
    for chain in [false, true] {
        // Given a last batch of three groups of which power kept the first and the last
        let dir = tempfile::tempdir().unwrap();
        let note_delay = std::time::Duration::from_secs(3600);
        let options = Options {
            chain,
            note_delay,
            ..small()
        };
        let running = dir.path().join("running");
        let (journal, _) = open(&running, &options);
        append(&journal, group(&["first"])).await;
        soon(journal.note(group(&["a"]))).await.unwrap();
        soon(journal.note(group(&["b"]))).await.unwrap();
        append(&journal, group(&["c"])).await;
        let base = dir.path().join("crashed");
        copy(&running, &base);
        soon(journal.close()).await;
        let frames = frames(&base);
        let (segment, offset, missing) = &frames[frames.len() - 2];
        let next = frames[frames.len() - 1].1;
        let file = std::fs::File::options().write(true).open(segment).unwrap();
        file.write_all_at(&vec![0; (next - offset) as usize], *offset)
            .unwrap();

        // When it is opened, goes on, and is opened again
        let (journal, recovered) = open(&base, &options);
        assert_eq!(recovered.damage.len(), 1);
        assert_eq!(recovered.damage[0].kind, DamageKind::LastBatch);
        assert_eq!(lost(&recovered.damage), missing.iter().copied().collect());
        append(&journal, group(&["after"])).await;
        let again = dir.path().join("again");
        copy(&base, &again);
        soon(journal.close()).await;
        for opening in 0..2 {
            let (journal, recovered) = open(&again, &options);

            // Then nothing is damaged, and everything else is there
            assert_eq!(recovered.damage, [], "chain {chain}, opening {opening}");
            let read = ids(&read_all(&journal).await);
            assert!(
                ["first", "a", "c", "after"]
                    .iter()
                    .all(|id| read.contains(&(*id).to_owned())),
                "{read:?}"
            );
            soon(journal.close()).await;
        }
        let report = verify(&again).unwrap();
        assert_eq!((report.damage, report.torn), (vec![], None), "chain {chain}");
    }
}

#[tokio::test]
async fn verify_and_dump_read_a_journal_that_is_being_written() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path(), &small());
    let writer = {
        let journal = journal.clone();
        tokio::spawn(async move {
            for n in 0..400 {
                append(&journal, sized(&n.to_string(), 500)).await;
            }
        })
    };

    while !writer.is_finished() {
        let from = journal.head();
        let path = dir.path().to_owned();
        let report = soon(tokio::task::spawn_blocking(move || verify(&path)))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(report.damage, []);
        assert!(report.head >= from, "what was durable is there");
    }
    soon(writer).await.unwrap();
    let mut found = Vec::new();
    let damage = dump(dir.path(), 300, |located| {
        found.push(located.entry.sequence);
        if found.len() == 5 {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    });
    assert_eq!(damage.unwrap(), []);
    assert_eq!(found, [300, 301, 302, 303, 304]);
    append(&journal, Group::default()).await;
    soon(journal.close()).await;
    let report = verify(dir.path()).unwrap();
    assert_eq!((report.events, report.head), (400, 400));
    assert_eq!(report.torn, None);
}
