//! Which files are finished and not yet done.

use std::io;
use std::os::unix::fs::MetadataExt as _;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

use crate::config::Plan;

/// The clock that gives files their change time goes by ticks, of 10 ms at most: it is behind the clock.
const TICK: TimeDelta = TimeDelta::milliseconds(20);

/// Where a file stands in the order of all: by change time, then by name. Also the checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Nanoseconds since the Unix epoch.
    pub(crate) changed: i128,
    pub(crate) name: String,
}

impl Place {
    /// Before every file of this moment.
    pub(crate) fn at(time: DateTime<Utc>) -> Self {
        let changed =
            i128::from(time.timestamp()) * 1_000_000_000 + i128::from(time.timestamp_subsec_nanos());
        let name = String::new();
        Self { changed, name }
    }
    /// Before every file that changes from now on.
    pub(crate) fn now() -> Self {
        Self::at(Utc::now() - TICK)
    }
    /// Text: the change time, a space, the name.
    pub(crate) fn write(&self) -> Bytes {
        format!("{} {}", self.changed, self.name).into()
    }
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (changed, name) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
        Some(Self {
            changed: changed.parse().ok()?,
            name: name.to_owned(),
        })
    }
}

/// The finished files behind `done` and before `until`, in order. A name that is no UTF-8 is shown as well as can be
/// and fails when the file is opened, once; a file that goes away meanwhile was never there.
pub(crate) fn finished(plan: &Plan, done: &Place, until: &Place) -> io::Result<Vec<Place>> {
    let mut places = Vec::new();
    for entry in std::fs::read_dir(&plan.directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if plan
            .pattern
            .as_ref()
            .is_some_and(|pattern| !pattern.matches(&name))
        {
            continue;
        }
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if !metadata.is_file() {
            continue;
        }
        let changed = i128::from(metadata.ctime()) * 1_000_000_000 + i128::from(metadata.ctime_nsec());
        let place = Place { changed, name };
        if place > *done && place < *until {
            places.push(place);
        }
    }
    places.sort();
    Ok(places)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::tests::config;

    fn names(plan: &Plan, done: &Place, until: DateTime<Utc>) -> Vec<String> {
        let places = finished(plan, done, &Place::at(until)).unwrap();
        places.into_iter().map(|place| place.name).collect()
    }

    #[test]
    fn a_file_counts_from_when_it_was_moved_in_however_old_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("old"));
        fs::create_dir(&inside).unwrap();
        fs::write(&outside, "x").unwrap();
        let plan = Plan::try_from(config(&inside)).unwrap();
        fs::write(inside.join("first"), "x").unwrap();
        let later = || Utc::now() + TimeDelta::hours(1);
        let done = finished(&plan, &Place::default(), &Place::at(later())).unwrap()[0].clone();
        std::thread::sleep(std::time::Duration::from_millis(30));

        fs::rename(&outside, inside.join("a")).unwrap();

        assert_eq!(done.name, "first");
        assert_eq!(names(&plan, &done, later()), ["a"]);
    }

    #[test]
    fn a_file_that_comes_right_after_the_begin_counts() {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::try_from(config(folder.path())).unwrap();
        for name in (0..50).map(|n| n.to_string()) {
            let begin = Place::now();
            fs::write(folder.path().join(&name), "x").unwrap();

            let found = names(&plan, &begin, Utc::now() + TimeDelta::hours(1));

            assert!(found.contains(&name), "{name}: {begin:?}, {found:?}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn what_changed_just_now_is_not_finished_and_other_names_and_folders_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.csv"), "x").unwrap();
        fs::write(folder.path().join("a.txt"), "x").unwrap();
        fs::create_dir(folder.path().join("b.csv")).unwrap();
        let mut config = config(folder.path());
        config.pattern = Some("*.csv".to_owned());
        let plan = Plan::try_from(config).unwrap();

        let before = Utc::now() - TimeDelta::hours(1);

        assert!(names(&plan, &Place::default(), before).is_empty());
        assert_eq!(
            names(&plan, &Place::default(), Utc::now() + TimeDelta::hours(1)),
            ["a.csv"]
        );
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written_and_anything_else_is_none() {
        let place = Place {
            changed: 1_790_000_000_123_456_789,
            name: "with a blank".to_owned(),
        };
        assert_eq!(Place::read(&place.write()), Some(place));
        assert_eq!(Place::read(b"yesterday x"), None);
        assert_eq!(Place::read(b"\xff"), None);
    }
}
