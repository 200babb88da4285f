//! A whole driver in Rust: each line that is appended to a file becomes an event.
//!
//! The SDK reads the settings, repeats what the hub did not take, and stops when it is time; what is left is the
//! file. Progress is the number of the last line, stored with its event or not at all.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use dispatch_contract::{Event, EventError};
use dispatch_driver_sdk::{About, Context, Failure, Key, Stop, run};
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, BufReader};

const ABOUT: About = About {
    name: "lines",
    summary: "Turns the lines of a file into events.",
    keys: &[Key::plain("file", "the file")],
};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    file: PathBuf,
}

fn main() -> ExitCode {
    run(&ABOUT, drive)
}

async fn drive(config: Config, context: Context) -> Result<(), Failure> {
    let Context { hub, stop } = context;
    let checkpoint = hub.checkpoint(&stop).await?.unwrap_or_default();
    let done: u64 = String::from_utf8_lossy(&checkpoint).parse().unwrap_or_default();
    let mut file = BufReader::new(opened(&config.file, &stop).await?);
    let (mut number, mut line) = (0, Vec::new());
    loop {
        file.read_until(b'\n', &mut line).await.map_err(Failure::failed)?;
        if line.last() != Some(&b'\n') {
            stop.sleep(LOOK).await?;
            continue;
        }
        number += 1;
        if number > done {
            match event(number, &line) {
                Ok(event) => {
                    let checkpoint = Some(number.to_string().into());
                    hub.emit_or_skip(vec![event], checkpoint, &stop).await?;
                }
                Err(problem) => tracing::warn!(number, "line left out: {problem}"),
            }
        }
        line.clear();
    }
}

async fn opened(path: &std::path::Path, stop: &Stop) -> Result<File, Failure> {
    loop {
        match File::open(path).await {
            Ok(file) => return Ok(file),
            Err(error) => tracing::debug!("cannot read {}: {error}", path.display()),
        }
        stop.sleep(LOOK).await?;
    }
}

/// Id and source are made of what happened and not of now: sent twice it is still one event.
fn event(number: u64, line: &[u8]) -> Result<Event, EventError> {
    let name = std::env::var("DISPATCH_DRIVER_NAME").unwrap_or_else(|_| "alone".to_owned());
    let text = std::str::from_utf8(line).map_err(|error| EventError::new("data", error.to_string()))?;
    let data = serde_json::json!({"line": text.trim_end_matches('\n')}).to_string();
    Event::builder(number.to_string(), format!("/lines/{name}"), "example.line")
        .json(data)
        .build()
}
