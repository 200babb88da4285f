//! `--quickstart`: a first start with something to see, and every run printed as it happens.
//!
//! Standard output is for people here; the log goes to standard error as always.

mod print;
mod seed;

use std::io::Write as _;
use std::path::PathBuf;

use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;

use crate::hub::App;

/// Seeds what the first start needs, then prints runs until the hub stops.
pub(crate) async fn run(app: App) {
    let work = async {
        let mut runs = app.live.follow_runs();
        say(print::welcome(&app.url(), &program(), &port_flag(&app))).await?;
        match seed::seed(&app).await {
            Ok(None) => {}
            Ok(Some(problem)) => say(problem).await?,
            Err(error) => say(format!("the example could not be made: {}", error.message)).await?,
        }
        loop {
            match runs.recv().await {
                Ok(live) if live.run.finished_time.is_some() => say(print::run(&live.run)).await?,
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => say(format!("({missed} runs are not shown)")).await?,
                Err(RecvError::Closed) => return std::io::Result::Ok(()),
            }
        }
    };
    tokio::select! {
        () = app.shutdown.cancelled() => {}
        ended = work => if let Err(error) = ended {
            tracing::debug!(%error, "nobody reads what the quickstart prints");
        }
    }
}

async fn say(text: String) -> std::io::Result<()> {
    let write = move || {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    };
    spawn_blocking(write).await.unwrap_or(Ok(()))
}

/// How to call this program from here.
fn program() -> String {
    let on_path = PathBuf::from("dispatch");
    let found = std::env::current_exe().unwrap_or(on_path);
    let here = std::env::current_dir().unwrap_or_default();
    match found.strip_prefix(&here) {
        Ok(below) => format!("./{}", below.display()),
        Err(_) => found.display().to_string(),
    }
}

fn port_flag(app: &App) -> String {
    match app.address.port() {
        8080 => String::new(),
        port => format!(" --port {port}"),
    }
}
