//! The worlds of our drivers: how each is started, and how to make things happen on its other side.

use std::os::unix::ffi::OsStringExt as _;

use anyhow::Result;
use dispatch_driver_suite::{DriverHub, Program, World};
use dispatch_fixtures::process::built;
use dispatch_fixtures::vcsim::{Options, Vcsim};

fn program(driver: &str, args: &[String], secrets: &[(&str, &str)]) -> Result<Program> {
    Ok(Program {
        path: built(&format!("dispatch-driver-{driver}"))?,
        args: args.to_vec(),
        secrets: secrets
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
    })
}

/// A clock that ticks every second.
pub(crate) struct Cron(Program);

impl Cron {
    pub(crate) fn new() -> Result<Self> {
        let args = ["--cron=@every 1s", "--missed=all"].map(str::to_owned);
        Ok(Self(program("cron", &args, &[])?))
    }
}

impl World for Cron {
    fn program(&self) -> Program {
        self.0.clone()
    }
    async fn happen(&mut self, _count: usize, _hub: &DriverHub) -> Result<bool> {
        Ok(false)
    }
}

/// A directory into which files are moved.
pub(crate) struct Files {
    program: Program,
    folder: tempfile::TempDir,
    moved: usize,
}

impl Files {
    pub(crate) fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let inside = folder.path().join("in");
        std::fs::create_dir(&inside)?;
        let args = [
            format!("--directory={}", inside.display()),
            "--settle=500ms".to_owned(),
        ];
        let program = program("files", &args, &[])?;
        let moved = 0;
        Ok(Self {
            program,
            folder,
            moved,
        })
    }
}

impl World for Files {
    fn program(&self) -> Program {
        self.program.clone()
    }
    async fn started(&mut self, hub: &DriverHub) -> Result<()> {
        let within = std::time::Duration::from_secs(20);
        hub.until("the driver said where it begins", within, |hub| {
            hub.checkpoint().is_some()
        })
        .await
    }
    async fn happen(&mut self, count: usize, _hub: &DriverHub) -> Result<bool> {
        for _ in 0..count {
            self.moved += 1;
            let name = format!("{}.txt", self.moved);
            let outside = self.folder.path().join("part");
            std::fs::write(&outside, &name)?;
            std::fs::rename(outside, self.folder.path().join("in").join(name))?;
        }
        Ok(true)
    }
    /// A name that is no UTF-8.
    async fn malformed(&mut self, _hub: &DriverHub) -> Result<bool> {
        let name = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
        std::fs::write(self.folder.path().join("in").join(name), "x")?;
        Ok(true)
    }
}

/// The vCenter simulator.
pub(crate) struct Vcenter {
    program: Program,
    simulator: Vcsim,
}

impl Vcenter {
    /// `None`, visibly, where the simulator cannot be had.
    pub(crate) async fn new() -> Result<Option<Self>> {
        let Some(simulator) = Vcsim::start(Options::default()).await? else {
            return Ok(None);
        };
        let (user, password) = simulator.credentials();
        let host = simulator.host();
        let secrets = [
            ("HOST", host.as_str()),
            ("USERNAME", user),
            ("PASSWORD", password),
        ];
        let ca = format!("--ca={}", simulator.ca().display());
        let program = program("vcenter", &[ca], &secrets)?;
        Ok(Some(Self { program, simulator }))
    }
}

impl World for Vcenter {
    fn program(&self) -> Program {
        self.program.clone()
    }
    async fn started(&mut self, hub: &DriverHub) -> Result<()> {
        let within = std::time::Duration::from_secs(20);
        hub.until("the driver reads", within, |hub| {
            hub.health().iter().any(|said| said["status"] == "READY")
        })
        .await
    }
    async fn happen(&mut self, count: usize, _hub: &DriverHub) -> Result<bool> {
        self.simulator.ctl(&format!("storm?n={count}")).await?;
        Ok(true)
    }
}
