//! A copy of the store's files, made while a hub uses them or not, by SQLite's own backup: each is as it was at one moment.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use crate::OpenError;
use crate::store::FILES;

/// How another program's lock is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// All pages in one step, so that writers meanwhile do not begin it again.
const ALL: i32 = i32::MAX;

/// Copies the files in `from` to the folder `to`, which is there and holds none of them. Read models that are not there
/// are left out: they are rebuilt. The copies are on stable storage when this returns; their names are not.
pub fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
    for kind in FILES {
        let (source, target) = (from.join(kind.name), to.join(kind.name));
        if !source.exists() && kind.is_view {
            continue;
        }
        copy_file(&source, &target)?;
    }
    Ok(())
}

fn copy_file(source: &Path, target: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, reason: String| OpenError::Io {
        path: path.to_owned(),
        reason,
    };
    let from = Connection::open_with_flags(source, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .map_err(|e| failed(source, e.to_string()))?;
    // Secrets are in here: for the owner only.
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(target)
        .map_err(|e| failed(target, e.to_string()))?;
    let copied = from.busy_timeout(BUSY_TIMEOUT).and_then(|()| {
        let mut to = Connection::open(target)?;
        to.pragma_update(None, "synchronous", "FULL")?;
        Backup::new(&from, &mut to)?.run_to_completion(ALL, Duration::ZERO, None)?;
        to.close().map_err(|(_, e)| e)
    });
    copied.map_err(|e| failed(source, e.to_string()))
}
