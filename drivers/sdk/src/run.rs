//! The life of a driver process: settings, logging, signals, the driver, an exit code.
//!
//! Exit codes: 0 it was stopped; 1 the settings are wrong, so starting it again soon is no use; 2 it failed.
//! A driver that the hub started (`DISPATCH_DRIVER_ID` is set) stops when its stdin closes: then the hub is gone,
//! however it ended.

use std::error::Error;
use std::io::{IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};

use crate::causes::chain;
use crate::hub::{CheckpointError, EmitError, Hub, HubError};
use crate::settings::{Key, SettingError, Settings};
use crate::stop::{Stop, Stopped};

/// How long a driver may take to end after it was asked to; the hub kills it a second later.
const GRACE: Duration = Duration::from_secs(4);

/// What a driver is, for `--help`.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The driver type: the executable is `dispatch-driver-<name>`.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// All settings.
    pub keys: &'static [Key],
}

/// What a driver works with.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where events go.
    pub hub: Hub,
    /// When to stop.
    pub stop: Stop,
}

/// How a driver ended when it did not simply finish.
#[derive(Debug)]
pub enum Failure {
    /// Somebody asked it to stop: exit code 0.
    Stopped,
    /// The settings are wrong (a refused password counts): exit code 1.
    Settings(Box<dyn Error + Send + Sync>),
    /// Anything else: exit code 2.
    Failed(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// The settings are wrong.
    pub fn settings(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Settings(error.into())
    }
    /// Something failed.
    pub fn failed(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
impl From<SettingError> for Failure {
    fn from(error: SettingError) -> Self {
        Self::settings(error)
    }
}
impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::settings(error)
    }
}
impl From<EmitError> for Failure {
    fn from(error: EmitError) -> Self {
        match error {
            EmitError::Stopped => Self::Stopped,
            other => Self::failed(other),
        }
    }
}
impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        match error {
            CheckpointError::Stopped => Self::Stopped,
            other => Self::failed(other),
        }
    }
}

/// Runs a driver with the process's own arguments, environment and signals.
pub fn run<C, D>(about: &About, driver: D) -> ExitCode
where
    C: DeserializeOwned,
    D: AsyncFnOnce(C, Context) -> Result<(), Failure>,
{
    let supervised = std::env::var_os("DISPATCH_DRIVER_ID").is_some();
    log_to_stderr(supervised);
    let ended = Settings::parse(std::env::args().skip(1))
        .map_err(Failure::from)
        .and_then(|settings| match settings.wants_help() {
            true => print_help(about),
            false => live(about, &settings, supervised, driver),
        });
    match ended {
        Ok(()) | Err(Failure::Stopped) => ExitCode::SUCCESS,
        Err(Failure::Settings(error)) => {
            tracing::error!("{}", chain(&*error));
            ExitCode::from(1)
        }
        Err(Failure::Failed(error)) => {
            tracing::error!("{}", chain(&*error));
            ExitCode::from(2)
        }
    }
}

fn live<C, D>(about: &About, settings: &Settings, supervised: bool, driver: D) -> Result<(), Failure>
where
    C: DeserializeOwned,
    D: AsyncFnOnce(C, Context) -> Result<(), Failure>,
{
    let config = settings.config(about.keys)?;
    let hub = Hub::from_env(settings)?;
    let stop = Stop::new();
    if supervised {
        stop_when_stdin_closes(stop.clone());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::failed)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        let asked = async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = stop.stopped() => {}
            }
            stop.stop();
            tokio::time::sleep(GRACE).await;
        };
        let context = Context {
            hub,
            stop: stop.clone(),
        };
        tokio::select! {
            ended = driver(config, context) => ended,
            () = asked => {
                tracing::warn!("did not stop within {} s", GRACE.as_secs());
                Err(Failure::Stopped)
            }
        }
    })
}

/// TLS by ring, once per process; whoever came first is fine.
pub(crate) fn install_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        rustls::crypto::ring::default_provider().install_default().ok();
    }
}

/// One line each; the hub adds the time and the driver's name to the lines of its own drivers.
fn log_to_stderr(supervised: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false);
    let set = match supervised {
        true => lines.without_time().try_init(),
        false => lines.try_init(),
    };
    // Whoever set a logger before keeps it.
    set.ok();
    std::panic::set_hook(Box::new(|panic| tracing::error!("bug: {panic}")));
}

/// A thread, and not a task: a read of stdin cannot be cancelled, and the process must not wait for it.
fn stop_when_stdin_closes(stop: Stop) {
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut scratch = [0; 256];
        loop {
            match stdin.read(&mut scratch) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        stop.stop();
    });
}

fn print_help(about: &About) -> Result<(), Failure> {
    let mut text = format!(
        "{}\n\nUsage: dispatch-driver-{} [--key=value]...\n\n",
        about.summary, about.name
    );
    let width = about.keys.iter().map(|k| k.name.len()).max().unwrap_or_default();
    for key in about.keys {
        let from = if key.secret {
            " (or from the environment)"
        } else {
            ""
        };
        text += &format!("  --{:width$}  {}{from}\n", key.name, key.help);
    }
    text += "\nEvents go to the URL in K_SINK, with the bearer token in DISPATCH_TOKEN.\n";
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(Failure::failed)
}
