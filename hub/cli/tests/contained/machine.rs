//! The machine a hub finds itself on: this one, or this one without bubblewrap.

use std::os::unix::fs::symlink;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// What is on the `PATH` of a hub.
pub(crate) struct Machine {
    name: &'static str,
    path: Option<String>,
    _folder: Option<tempfile::TempDir>,
}

impl Machine {
    /// With bubblewrap; `None`, and visibly so, where it is not.
    #[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
    pub(crate) fn with_bubblewrap() -> Result<Option<Self>> {
        if Command::new("bwrap").arg("--version").output().is_err() {
            ensure!(
                std::env::var("CI").as_deref() != Ok("true"),
                "bubblewrap is missing"
            );
            eprintln!("SKIPPED: no `bwrap` on PATH");
            return Ok(None);
        }
        Ok(Some(Self {
            name: "with bubblewrap",
            path: None,
            _folder: None,
        }))
    }

    /// With the languages only.
    pub(crate) fn without_bubblewrap() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        for (name, arguments) in [
            ("python3", ["-c", "import sys; print(sys.executable)"]),
            ("node", ["-p", "process.execPath"]),
        ] {
            let said = Command::new(name).args(arguments).output().context(name)?;
            let path = String::from_utf8(said.stdout)?;
            symlink(path.trim(), folder.path().join(name))?;
        }
        Ok(Self {
            name: "without bubblewrap",
            path: Some(folder.path().to_string_lossy().into_owned()),
            _folder: Some(folder),
        })
    }

    /// For people.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// What a hub there sees.
    pub(crate) fn environment(&self) -> Vec<(&str, &str)> {
        self.path.iter().map(|path| ("PATH", path.as_str())).collect()
    }
}
