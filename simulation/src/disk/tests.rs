//! What the simulated disk promises those who trust it.
#![allow(clippy::unwrap_used)] // test code

use super::*;

const DIR: &str = "/journal";

fn disk(seed: u64) -> SimDisk {
    SimDisk::new(Dice::new(seed))
}

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

/// The whole file; empty if there is none.
fn contents(disk: &SimDisk, name: &str) -> Vec<u8> {
    let Ok(file) = disk.open(&path(name), false) else {
        return Vec::new();
    };
    let mut bytes = vec![0; file.size().unwrap() as usize];
    let read = file.read_at(&mut bytes, 0).unwrap();
    assert_eq!(read, bytes.len());
    bytes
}

fn synced(disk: &SimDisk, name: &str, bytes: &[u8]) -> Box<dyn DiskFile> {
    let file = disk.create(&path(name)).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    file
}

#[test]
fn what_was_synced_is_there_after_any_loss_of_power() {
    for seed in 0..50 {
        let disk = disk(seed);
        let bytes: Vec<u8> = (0..20_000u32).map(|n| n as u8).collect();
        synced(&disk, "a", &bytes);

        disk.lose_power(*Dice::new(seed).pick(&[Loss::Everything, Loss::Nothing, Loss::Pages(500)]));

        assert_eq!(contents(&disk, "a"), bytes, "seed {seed}");
    }
}

#[test]
fn what_was_not_synced_may_be_lost_whole_or_in_part_or_not_at_all() {
    let (mut whole, mut none, mut part, mut torn) = (0, 0, 0, 0);
    for seed in 0..200 {
        let disk = disk(seed);
        let file = synced(&disk, "a", &[1; 3 * PAGE]);
        file.write_at(&[2; 3 * PAGE], 0).unwrap();

        disk.lose_power(Loss::Pages(500));

        let bytes = contents(&disk, "a");
        let new = bytes.iter().filter(|b| **b == 2).count();
        whole += usize::from(new == bytes.len());
        none += usize::from(new == 0);
        part += usize::from(new > 0 && new < bytes.len());
        torn += usize::from(new % PAGE > 0);
        assert_eq!(new % 512, 0, "a sector is written whole");
    }
    assert!(
        whole > 0 && none > 0 && part > 50 && torn > 20,
        "{whole} {none} {part} {torn}"
    );
}

#[test]
fn a_killed_process_loses_nothing_it_wrote() {
    let disk = disk(1);
    let file = disk.create(&path("a")).unwrap();
    file.write_at(b"written", 0).unwrap();

    disk.lose_power(Loss::Nothing);

    assert_eq!(contents(&disk, "a"), b"written");
    assert!(file.sync().is_err(), "its handles are gone");
}

#[test]
fn after_a_failed_sync_the_next_one_does_not_bring_the_pages_back() {
    let lost = (0..50).filter(|seed| {
        let disk = disk(*seed);
        let file = synced(&disk, "a", &[1; PAGE]);
        file.write_at(&[2; PAGE], 0).unwrap();
        disk.set_faults(Faults {
            syncs: 1000,
            ..Faults::default()
        });
        file.sync().unwrap_err();
        disk.set_faults(Faults::default());

        file.sync().unwrap();
        disk.lose_power(Loss::Everything);

        contents(&disk, "a") == [1; PAGE]
    });
    assert!((20..50).contains(&lost.count()));
}

#[test]
fn names_are_durable_when_the_folder_was_synced_and_not_before() {
    let disk = disk(1);
    synced(&disk, "a", b"old");
    let draft = disk.create(&path("draft")).unwrap();
    draft.write_at(b"new", 0).unwrap();
    draft.sync().unwrap();
    disk.rename(&path("draft"), &path("a")).unwrap();
    assert_eq!(contents(&disk, "a"), b"new");

    disk.lose_power(Loss::Everything);

    assert_eq!(contents(&disk, "a"), b"old");
    assert!(disk.list(Path::new(DIR)).unwrap() == [path("a")]);
}

#[test]
fn a_beginning_of_the_changes_of_names_is_kept() {
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let disk = disk(seed);
        for name in ["a", "b", "c"] {
            disk.create(&path(name)).unwrap();
        }
        disk.remove(&path("a")).unwrap();

        disk.lose_power(Loss::Pages(1));

        let names = disk.list(Path::new(DIR)).unwrap();
        let names: String = names.iter().filter_map(|p| p.file_name()?.to_str()).collect();
        seen.insert(names);
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["", "a", "ab", "abc", "bc"]);
}

#[test]
fn a_full_disk_refuses_until_there_is_room_again() {
    let disk = disk(1);
    disk.set_capacity(3 * PAGE as u64);
    let file = synced(&disk, "a", b"x");

    let refused = file.allocate(4 * PAGE as u64).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);
    file.allocate(3 * PAGE as u64).unwrap();
    file.write_at(&[1; 3 * PAGE], 0).unwrap();
    let refused = disk.create(&path("b")).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::StorageFull);

    disk.remove(&path("a")).unwrap();
    disk.create(&path("b")).unwrap();
}

#[test]
fn what_was_cut_off_reads_as_zeros_when_the_file_grows_again() {
    let disk = disk(1);
    let file = synced(&disk, "a", &[7; 2 * PAGE]);

    file.truncate(100).unwrap();
    file.allocate(2 * PAGE as u64).unwrap();

    let bytes = contents(&disk, "a");
    assert!(bytes[..100].iter().all(|b| *b == 7) && bytes[100..].iter().all(|b| *b == 0));
    file.sync().unwrap();
    disk.lose_power(Loss::Everything);
    assert_eq!(contents(&disk, "a"), bytes);
}

#[test]
fn the_power_goes_in_the_middle_of_the_change_that_was_chosen() {
    let disk = disk(1);
    let file = synced(&disk, "a", b"x");
    disk.cut_power_at(Some(2));

    file.write_at(b"y", 0).unwrap();
    file.sync().unwrap_err();

    assert!(!disk.is_on());
    assert!(file.size().is_err() && disk.list(Path::new(DIR)).is_err());
    disk.lose_power(Loss::Nothing);
    assert!(disk.is_on());
    assert_eq!(contents(&disk, "a"), b"y");
}

#[test]
fn a_read_fails_for_a_while_only_and_may_be_short() {
    let disk = disk(1);
    let file = synced(&disk, "a", &[7; 1000]);
    disk.set_faults(Faults {
        reads: 1000,
        short_reads: 1000,
        ..Faults::default()
    });

    let mut buffer = [0; 1000];
    let tries: Vec<_> = (0..6).map(|_| file.read_at(&mut buffer, 0).ok()).collect();

    assert!(
        matches!(
            tries[..],
            [None, None, Some(1..=1000), None, None, Some(1..=1000)]
        ),
        "{tries:?}"
    );
}
