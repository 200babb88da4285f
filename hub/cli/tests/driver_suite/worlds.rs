//! The worlds of our drivers: how each is started, and how to make things happen on its other side. Those that
//! listen are in `doors.rs`.

use std::os::unix::ffi::OsStringExt as _;
use std::time::Duration;

use anyhow::Result;
use dispatch_driver_suite::{DriverHub, Program, Upstream, World};
use dispatch_fixtures::aws::{Aws, CREDENTIALS, Emulator, REGION};
use dispatch_fixtures::eventgrid::{Namespace, Settings};
use dispatch_fixtures::process::built;
use dispatch_fixtures::vcsim::{Options, Vcsim};
use serde_json::json;

pub(crate) fn program(driver: &str, args: &[String], secrets: &[(&str, &str)]) -> Result<Program> {
    let secret = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).into());
    Ok(Program {
        path: built(&format!("dispatch-driver-{driver}"))?,
        args: args.to_vec(),
        secrets: secrets.iter().map(secret).collect(),
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
        let within = Duration::from_secs(20);
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
        let within = Duration::from_secs(20);
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

/// A queue of an emulator.
pub(crate) struct Sqs {
    program: Program,
    aws: Aws,
    queue: String,
    sent: usize,
}

impl Sqs {
    /// `None`, visibly, where the emulator cannot be had.
    pub(crate) async fn new(emulator: Emulator) -> Result<Option<Self>> {
        let Some(aws) = Aws::start(emulator).await? else {
            return Ok(None);
        };
        let queue = aws.make_queue("orders", json!({})).await?;
        let args = [
            format!("--endpoint-url={}", aws.url()),
            format!("--region={REGION}"),
            format!("--queue-url={queue}"),
            // How long a killed driver keeps its messages.
            "--visibility-timeout=3s".to_owned(),
        ];
        let program = program("aws", &args, &CREDENTIALS)?;
        Ok(Some(Self {
            program,
            aws,
            queue,
            sent: 0,
        }))
    }
}

impl World for Sqs {
    fn program(&self) -> Program {
        self.program.clone()
    }
    async fn happen(&mut self, count: usize, _hub: &DriverHub) -> Result<bool> {
        let bodies: Vec<String> = (0..count).map(|n| format!("order {}", self.sent + n)).collect();
        self.sent += count;
        self.aws.send_messages(&self.queue, &bodies).await?;
        Ok(true)
    }
    /// Says it is a CloudEvent, an EventBridge event, a notification, and is none.
    async fn malformed(&mut self, _hub: &DriverHub) -> Result<bool> {
        let bodies = [
            r#"{"specversion":"1.0"}"#,
            r#"{"detail-type":7}"#,
            r#"{"Records":[{"eventSource":"aws:s3"}]}"#,
        ];
        self.aws
            .send_messages(&self.queue, &bodies.map(str::to_owned))
            .await?;
        Ok(true)
    }
    /// Acknowledged is what was deleted.
    async fn upstream(&mut self) -> Result<Option<Upstream>> {
        let waiting = self.aws.depth(&self.queue).await?.try_into()?;
        Ok(Some(Upstream {
            waiting,
            ..Upstream::default()
        }))
    }
}

/// A subscription of an Event Grid namespace.
pub(crate) struct Pull {
    program: Program,
    namespace: Namespace,
    put: usize,
}

impl Pull {
    pub(crate) async fn new() -> Result<Self> {
        // How long a killed driver keeps its events, and more deliveries than the checks need.
        let lock = Duration::from_secs(3);
        let namespace = Namespace::start(Settings {
            lock,
            deliveries: 100,
        })
        .await?;
        let args = [
            format!("--namespace-endpoint={}", namespace.url()),
            format!("--topic={}", Namespace::TOPIC),
            format!("--subscription={}", Namespace::SUBSCRIPTION),
            "--lock-duration=3s".to_owned(),
        ];
        let program = program("eventgrid", &args, &[("ACCESS_KEY", Namespace::KEY)])?;
        Ok(Self {
            program,
            namespace,
            put: 0,
        })
    }
}

impl World for Pull {
    fn program(&self) -> Program {
        self.program.clone()
    }
    async fn happen(&mut self, count: usize, _hub: &DriverHub) -> Result<bool> {
        let event = |n| json!({"specversion": "1.0", "id": format!("{n}"), "source": "/s", "type": "t"});
        self.namespace.put((self.put..self.put + count).map(event));
        self.put += count;
        Ok(true)
    }
    /// Without a type, and with one that is no text.
    async fn malformed(&mut self, _hub: &DriverHub) -> Result<bool> {
        self.namespace.put([
            json!({"specversion": "1.0", "id": "m1", "source": "/s"}),
            json!({"specversion": "1.0", "id": "m2", "source": "/s", "type": {}}),
        ]);
        Ok(true)
    }
    async fn upstream(&mut self) -> Result<Option<Upstream>> {
        let waiting = self.namespace.owed();
        Ok(Some(Upstream {
            waiting,
            ..Upstream::default()
        }))
    }
}
