//! What the tools of one build said, in a file that can be read while the build goes on. Bounded.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// The most of one build's output that is kept.
const MAX_BYTES: usize = 1024 * 1024;
const CUT: &[u8] = b"\n[the rest is not kept]\n";

/// The log of a build. A log that cannot be written loses lines, not the build.
#[derive(Debug)]
pub struct BuildLog(Option<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    file: File,
    left: usize,
}

impl BuildLog {
    /// Begins a log in place of the one before.
    pub fn begin(path: &Path) -> Self {
        match File::create(path) {
            Ok(file) => Self(Some(Mutex::new(Open {
                file,
                left: MAX_BYTES,
            }))),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "the log of a build cannot be written");
                Self::nowhere()
            }
        }
    }

    /// Keeps nothing.
    pub fn nowhere() -> Self {
        Self(None)
    }

    /// Adds a line.
    pub fn line(&self, text: &str) {
        self.write(format!("{text}\n").as_bytes());
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        let Some(open) = &self.0 else { return };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.left == 0 {
            return;
        }
        let kept = bytes.len().min(open.left);
        open.left -= kept;
        let mut written = open.file.write_all(&bytes[..kept]);
        if open.left == 0 {
            written = written.and_then(|()| open.file.write_all(CUT));
        }
        if let Err(error) = written {
            tracing::debug!(%error, "the log of a build cannot be written");
            open.left = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_kept_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = BuildLog::begin(&path);
        log.line("first");
        for _ in 0..300 {
            log.write(&[b'x'; 4096]);
        }

        let kept = std::fs::read(&path).unwrap();

        assert!(kept.starts_with(b"first\n") && kept.ends_with(CUT));
        assert_eq!(kept.len(), MAX_BYTES + CUT.len());
        BuildLog::begin(&path).line("second");
        assert_eq!(std::fs::read(&path).unwrap(), b"second\n");
    }
}
