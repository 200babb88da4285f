//! The life of a server process: start, serve until told to stop, drain, and say how it ended.
//!
//! A stop says so first (`/readyz`), goes on serving for `limits.notice`, and then takes at most `limits.drain`:
//! doors close, drivers stop, deliveries under way end or are cut off, and the journal is synced last. What is
//! cut off is delivered again by the next start.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::config::Settings;
use crate::notify;
use crate::socket::Inherited;
use crate::stage::Stage;
use crate::start::{Server, StartError, begin};

/// What a stop keeps of its time for closing files.
const CLOSING: Duration = Duration::from_millis(500);

/// A second signal this soon after the first is the same one.
const ECHO: Duration = Duration::from_millis(300);

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything under way was finished and is settled.
    Drained,
    /// Time ran out: what was under way is tried again by the next start.
    OutOfTime,
    /// A second signal of this number ended the drain.
    AtOnce(u8),
}

/// Runs a hub until SIGTERM or SIGINT; a second signal ends the drain at once. SIGHUP reads the
/// configuration again. `inherited` are the sockets that were handed over.
pub async fn run(settings: Settings, inherited: Inherited) -> Result<Exit, StartError> {
    let mut signals = Signals::listen();
    let config = settings.read()?;
    let server = begin(config, Some(settings), inherited).await?;
    let told = loop {
        match signals.next().await {
            Told::Reload => server.app.reload.run_and_tell().await,
            Told::Stop(signal) => break signal,
        }
    };
    tracing::info!(signal = told.name, "stopping; once more stops at once");
    tokio::select! {
        exit = server.stop() => Ok(exit),
        again = signals.again() => {
            let signal = again.name;
            tracing::warn!(signal, "stopped at once: the next start goes on with what was under way");
            Ok(Exit::AtOnce(again.number))
        }
    }
}

/// What was not finished when the time was over.
#[derive(Debug, Default)]
struct Left {
    deliveries: usize,
    settlements: bool,
    connections: usize,
    drivers: bool,
    tasks: bool,
}

impl Left {
    fn nothing(&self) -> bool {
        // Connections that are cut off were promised nothing.
        self.deliveries == 0 && !self.settlements && self.connections == 0 && !self.drivers && !self.tasks
    }
}

impl Server {
    /// Drains and stops, within the configured time, and says in one line of the log how that went.
    pub async fn stop(self) -> Exit {
        let limits = self.app.limits.load();
        self.app.life.enter(Stage::Leaving);
        notify::stopping();
        sleep(limits.notice).await;
        let began = Instant::now();
        let end = began + limits.drain;
        let drained_by = end - CLOSING.min(limits.drain / 4);
        self.app.shutdown.cancel();
        let (drivers, drained, ()) = tokio::join!(
            timeout_at(drained_by, self.app.drivers.stop()),
            self.app.router.drain(drained_by - began),
            self.app.apis.drain(drained_by - began),
        );
        let mut left = Left {
            deliveries: drained.in_flight_left,
            settlements: !drained.finished && drained.in_flight_left == 0,
            drivers: drivers.is_err(),
            ..Left::default()
        };
        let rest = CLOSING.max(end.saturating_duration_since(Instant::now()));
        left.tasks = timeout(rest, self.close(&mut left)).await.is_err() || left.tasks;
        let took = began.elapsed().as_millis();
        match left.nothing() {
            true => {
                tracing::info!(took, "drained and stopped");
                Exit::Drained
            }
            false => {
                tracing::warn!(
                    took,
                    deliveries = left.deliveries,
                    settlements = left.settlements,
                    connections = left.connections,
                    drivers = left.drivers,
                    tasks = left.tasks,
                    "ran out of time and stopped: the next start goes on with what was left"
                );
                Exit::OutOfTime
            }
        }
    }

    /// Ends everything that is not a delivery.
    async fn close(self, left: &mut Left) {
        if timeout(CLOSING / 2, self.serving.ended()).await.is_err() {
            left.connections = self.serving.count();
            self.serving.cut();
            self.serving.ended().await;
        }
        self.app.functions.stop().await;
        self.app.images.stop().await;
        self.app.journal.close().await;
        for task in [self.projection, self.router] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the hub failed");
                left.tasks = true;
            }
        }
        self.app.store.close().await;
        self.app.tasks.close();
        self.app.tasks.wait().await;
    }
}

/// What a signal says.
enum Told {
    Stop(StopSignal),
    Reload,
}

/// A signal that ends the process.
struct StopSignal {
    name: &'static str,
    number: u8,
}

/// SIGTERM, SIGINT and SIGHUP, whichever comes.
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
    hangup: Option<Signal>,
}

impl Signals {
    fn listen() -> Self {
        let listen = |kind, name| {
            signal(kind)
                .inspect_err(|error| tracing::error!(%error, "{name} cannot be listened to"))
                .ok()
        };
        Self {
            terminate: listen(SignalKind::terminate(), "SIGTERM"),
            interrupt: listen(SignalKind::interrupt(), "SIGINT"),
            hangup: listen(SignalKind::hangup(), "SIGHUP"),
        }
    }

    /// The next signal to stop that was meant: some wrappers pass one on twice.
    async fn again(&mut self) -> StopSignal {
        let echo = Instant::now() + ECHO;
        loop {
            if let Told::Stop(signal) = self.next().await
                && Instant::now() > echo
            {
                return signal;
            }
        }
    }

    async fn next(&mut self) -> Told {
        let stop = |kind: SignalKind, name| {
            let number = u8::try_from(kind.as_raw_value()).unwrap_or_default();
            Told::Stop(StopSignal { name, number })
        };
        tokio::select! {
            () = one(&mut self.terminate) => stop(SignalKind::terminate(), "SIGTERM"),
            () = one(&mut self.interrupt) => stop(SignalKind::interrupt(), "SIGINT"),
            () = one(&mut self.hangup) => Told::Reload,
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}
