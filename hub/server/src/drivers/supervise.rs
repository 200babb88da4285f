//! The life of a driver: start its program, see it run, start it again when it ends, until somebody wants it to
//! stop.
//!
//! Each start reads the driver, its type and its secrets anew and makes a new token: the one before is refused.
//! Waits double from 0.5 s to a minute and begin again at the shortest after a minute of running. A program on the SDK
//! that ends with code 1 says that its settings are wrong: it waits the full minute.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dispatch_schemas::{ConfigItem, Driver, DriverType, Secret};
use dispatch_store::StoreError;
use tokio::time::Instant;

use super::Shared;
use super::address;
use super::launch::{Launch, Setting};
use super::process::{Process, describe};
use super::program::{Program, ProgramError};
use super::slot::{EndGuard, Slot};

const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// Running this long, it was no crash loop.
const SETTLED: Duration = Duration::from_secs(60);
/// Running this long without a word to the hub, it runs.
const RUNS: Duration = Duration::from_secs(1);
/// Exit code of a program on the SDK whose settings are wrong.
const WRONG_SETTINGS: i32 = 1;

/// Why a driver has no program to start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TypeError {
    /// Neither registered nor built in.
    #[error("driver type {0} does not exist")]
    NoType(String),
    /// Registered, but what it names is not there.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The store does not say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A driver's program and the settings of its type.
pub(crate) struct Kind {
    pub(crate) program: Program,
    pub(crate) defaults: Vec<ConfigItem>,
    /// It listens where it is told.
    pub(crate) exposed: bool,
}

impl Shared {
    /// The program of a driver type: the registered one, else the executable of that name.
    pub(crate) async fn kind(&self, organization: &str, ty: &str) -> Result<Kind, TypeError> {
        match self.store.get::<DriverType>(organization, ty).await {
            Ok(registered) => Ok(Kind {
                program: self.places.program(&registered.image)?,
                defaults: registered.config.unwrap_or_default(),
                exposed: registered.expose,
            }),
            Err(StoreError::NotFound { .. }) => match self.places.named(ty) {
                Ok(program) => Ok(Kind {
                    program,
                    defaults: Vec::new(),
                    exposed: false,
                }),
                Err(_) => Err(TypeError::NoType(ty.to_owned())),
            },
            Err(error) => Err(error.into()),
        }
    }
}

/// Runs until the slot is stopped or its driver is no longer in the store.
pub(crate) async fn supervise(shared: Arc<Shared>, slot: Arc<Slot>) {
    let _guard = EndGuard(slot.clone());
    let mut backoff = FIRST_WAIT;
    while !slot.stop.is_cancelled() {
        let wait = match prepare(&shared, &slot).await {
            Ok(Next::Gone) => break,
            Ok(Next::Paused) => {
                slot.pauses();
                slot.stop.cancelled().await;
                break;
            }
            Ok(Next::Start(Prepared { launch, ours, listen })) => {
                match run(&shared, &slot, &launch, listen).await {
                    Ran::Stopped => break,
                    Ran::Ended { settled: true, .. } => {
                        backoff = FIRST_WAIT;
                        backoff
                    }
                    Ran::Ended {
                        code: Some(WRONG_SETTINGS),
                        ..
                    } if ours => LONGEST_WAIT,
                    Ran::Ended { .. } => backoff,
                }
            }
            Err(reason) => {
                tracing::warn!(driver = %slot.identity.name, organization = %slot.identity.organization, "cannot start: {reason}");
                slot.failed(reason);
                backoff
            }
        };
        backoff = (backoff * 2).min(LONGEST_WAIT);
        tokio::select! {
            () = slot.stop.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// What to do next.
enum Next {
    Start(Prepared),
    /// It is not to run for now.
    Paused,
    /// The driver is gone.
    Gone,
}

/// What to start.
struct Prepared {
    launch: Launch,
    /// Whether it is built on the SDK.
    ours: bool,
    /// Where it is told to listen.
    listen: Option<SocketAddr>,
}

/// Reads all that a start needs.
async fn prepare(shared: &Shared, slot: &Slot) -> Result<Next, String> {
    let found = shared.store.find::<Driver>(slot.identity.id).await;
    let Some((organization, driver)) = found.map_err(|e| e.to_string())? else {
        return Ok(Next::Gone);
    };
    if driver.paused {
        return Ok(Next::Paused);
    }
    let kind = shared
        .kind(&organization, &driver.ty)
        .await
        .map_err(|e| e.to_string())?;
    let mut secrets: Vec<Secret> = Vec::new();
    for name in &driver.secrets {
        secrets.push(
            shared
                .store
                .get(&organization, name)
                .await
                .map_err(|e| e.to_string())?,
        );
    }
    let listen = match kind.exposed {
        true => Some(address::free().map_err(|e| format!("no port is free for it to listen on: {e}"))?),
        false => None,
    };
    let token = slot.renew_token();
    let setting = Setting {
        driver: &driver,
        defaults: &kind.defaults,
        secrets: &secrets,
        hub: shared.addresses.api,
        public_url: shared.addresses.public(&slot.identity),
        port: listen.map(|address| address.port()),
        token: &token,
        supervisor: &shared.supervisor,
    };
    let launch = Launch::new(&kind.program, &setting, |name| std::env::var(name).ok());
    Ok(Next::Start(Prepared {
        launch,
        ours: kind.program.driver.is_some(),
        listen,
    }))
}

/// How a run ended.
enum Ran {
    /// Because somebody wanted it.
    Stopped,
    /// By itself, or never began.
    Ended { code: Option<i32>, settled: bool },
}

async fn run(shared: &Shared, slot: &Slot, launch: &Launch, listen: Option<SocketAddr>) -> Ran {
    let (driver, organization) = (slot.identity.name.clone(), slot.identity.organization.clone());
    let log = move |line: &str| tracing::info!(%driver, %organization, "{line}");
    slot.began(listen);
    let began = Instant::now();
    slot.record.started();
    let mut process = match Process::start(launch, shared.caps, &slot.lines, log) {
        Ok(process) => process,
        Err(error) => {
            return ended(
                slot,
                format!("cannot start {}: {error}", launch.program.display()),
                None,
                false,
            );
        }
    };
    let up = Up::new(slot);
    let mut runs = false;
    loop {
        tokio::select! {
            () = slot.stop.cancelled() => {
                process.stop(shared.grace()).await;
                slot.revoke_token();
                return Ran::Stopped;
            }
            status = process.ended() => {
                let code = status.as_ref().ok().and_then(|status| status.code());
                drop(up);
                let reason = match slot.lines.last(1).pop() {
                    Some(line) => format!("{}: {line}", describe(&status)),
                    None => describe(&status),
                };
                return ended(slot, reason, code, began.elapsed() >= SETTLED);
            }
            () = slot.contact.notified(), if !runs => runs = true,
            () = tokio::time::sleep_until(began + RUNS), if !runs => runs = true,
        }
        slot.runs();
    }
}

fn ended(slot: &Slot, reason: String, code: Option<i32>, settled: bool) -> Ran {
    slot.revoke_token();
    tracing::warn!(driver = %slot.identity.name, organization = %slot.identity.organization, "{reason}");
    slot.failed(reason);
    Ran::Ended { code, settled }
}

/// The gauge that says a driver's process is up, for as long as this lives.
struct Up<'a>(&'a Slot);

impl<'a> Up<'a> {
    fn new(slot: &'a Slot) -> Self {
        crate::metrics::driver_up(&slot.identity.organization, &slot.identity.name, true);
        Self(slot)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        crate::metrics::driver_up(&self.0.identity.organization, &self.0.identity.name, false);
    }
}
