//! The life of a server process: start, serve until told to stop, drain, and say how it ended.
//!
//! A stop takes at most `limits.drain`: doors close, drivers stop, deliveries under way end or are cut off, and
//! the journal is synced last. What is cut off is delivered again by the next start.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::ServerConfig;
use crate::start::{Server, StartError, start};

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
}

/// Runs a hub until SIGTERM or SIGINT; a second signal ends the drain at once.
pub async fn run(config: ServerConfig) -> Result<Exit, StartError> {
    let mut signals = Signals::listen();
    let server = start(config).await?;
    let name = signals.next().await;
    tracing::info!(signal = name, "stopping; once more stops at once");
    let exit = tokio::select! {
        exit = server.stop() => exit,
        name = signals.again() => {
            tracing::warn!(signal = name, "stopped at once");
            Exit::OutOfTime
        }
    };
    match exit {
        Exit::Drained => tracing::info!("drained and stopped"),
        Exit::OutOfTime => tracing::warn!("out of time: the next start goes on with what was under way"),
    }
    Ok(exit)
}

impl Server {
    /// Drains and stops, within the configured time.
    pub async fn stop(self) -> Exit {
        let limit = self.app.config.limits.drain;
        let end = Instant::now() + limit;
        let drained_by = end - CLOSING.min(limit / 4);
        self.app.shutdown.cancel();
        let stopped = timeout_at(drained_by, self.app.drivers.stop()).await;
        if stopped.is_err() {
            tracing::warn!("a driver does not stop in time");
        }
        let left = drained_by.saturating_duration_since(Instant::now());
        let drained = self.app.router.drain(left).await;
        if !drained.finished {
            let cut = drained.in_flight_left;
            tracing::warn!(cut, "deliveries were cut off");
        }
        let closed = timeout(
            CLOSING.max(end.saturating_duration_since(Instant::now())),
            self.close(),
        )
        .await;
        match (drained.finished, stopped, closed) {
            (true, Ok(()), Ok(true)) => Exit::Drained,
            _ => Exit::OutOfTime,
        }
    }

    /// Ends everything that is not a delivery; true if it ended by itself.
    async fn close(self) -> bool {
        let mut clean = timeout(CLOSING / 2, self.serving.ended()).await.is_ok();
        if !clean {
            self.serving.cut();
            self.serving.ended().await;
        }
        self.app.functions.stop().await;
        self.app.images.stop().await;
        self.app.journal.close().await;
        for task in [self.projection, self.router] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the hub failed");
                clean = false;
            }
        }
        self.app.store.close().await;
        self.app.tasks.close();
        self.app.tasks.wait().await;
        clean
    }
}

/// SIGTERM and SIGINT, whichever comes.
struct Signals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
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
        }
    }

    /// The next signal that was meant: some wrappers pass one on twice.
    async fn again(&mut self) -> &'static str {
        let echo = Instant::now() + ECHO;
        loop {
            let name = self.next().await;
            if Instant::now() > echo {
                return name;
            }
        }
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            () = one(&mut self.terminate) => "SIGTERM",
            () = one(&mut self.interrupt) => "SIGINT",
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
