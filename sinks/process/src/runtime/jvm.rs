//! What runtimes on the JVM share: finding a JDK, the worker program, the class path, Maven.
//!
//! The worker is Java source inside this crate, compiled once per JDK into the engine's cache.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::program::ask;
use super::{Interpreter, Plan, Site};
use crate::tool::{self, ToolError};
use crate::worker::StartError;

/// The first version that knows Unix-domain sockets is 16, the first of long support after it 17.
const OLDEST: u32 = 17;
const COMPILE: Duration = Duration::from_secs(120);
const MAIN: &str = "dispatch.worker.Worker";
const WORKER: [(&str, &str); 4] = [
    ("Worker.java", include_str!("../programs/jvm/Worker.java")),
    ("Handler.java", include_str!("../programs/jvm/Handler.java")),
    ("Bind.java", include_str!("../programs/jvm/Bind.java")),
    ("Json.java", include_str!("../programs/jvm/Json.java")),
];

/// Finds a JDK by its `java`; the compiler is the one beside it.
pub(super) async fn find() -> Result<Interpreter, String> {
    let said = ask("java", &["-XshowSettings:properties", "-version"]).await?;
    let property = |name: &str| {
        said.lines()
            .filter_map(|line| line.split_once(" = "))
            .find_map(|(n, value)| (n.trim() == name).then(|| value.trim().to_owned()))
            .ok_or_else(|| format!("`java` does not say its {name}"))
    };
    let (home, version) = (PathBuf::from(property("java.home")?), property("java.version")?);
    let number = version
        .split(['.', '-', '+'])
        .next()
        .and_then(|n| n.parse::<u32>().ok());
    if number.is_none_or(|n| n < OLDEST) {
        return Err(format!(
            "`java` is version {version}: version {OLDEST} or newer is needed"
        ));
    }
    let compiler = home.join("bin/javac");
    if !compiler.exists() {
        return Err(format!(
            "no `javac` beside `java` in {}: functions are compiled here, install a JDK",
            home.display()
        ));
    }
    Ok(Interpreter {
        path: home.join("bin/java"),
        version: format!("Java {version}"),
        parts: vec![compiler],
    })
}

/// A worker on the JVM with the function's folders and `more` on its class path; `glue` loads another language.
pub(super) async fn plan(
    site: &Site<'_>,
    java: &Interpreter,
    more: Vec<PathBuf>,
    glue: Option<PathBuf>,
) -> Result<Plan, StartError> {
    let worker = worker(site, java).await?;
    let mut path: Vec<PathBuf> = vec![worker];
    path.extend(more);
    path.extend(class_path(site));
    let path = joined(path)?;
    let plan = Plan::framed(&java.path, site.handler)
        .argument(format!("-Xmx{}m", site.limits.heap))
        .argument("-XX:+UseSerialGC")
        .argument("-XX:TieredStopAtLevel=1")
        .argument("-Xshare:auto")
        .argument("-Dfile.encoding=UTF-8")
        .argument("-Dstdout.encoding=UTF-8")
        .argument("-Dstderr.encoding=UTF-8")
        .argument("-cp")
        .argument(path)
        .argument(MAIN);
    Ok(glue.into_iter().fold(plan, Plan::argument))
}

/// Source folder, archives in it, and the image's packages.
pub(super) fn class_path(site: &Site<'_>) -> Vec<PathBuf> {
    let mut path = vec![site.source.to_owned()];
    path.extend(archives(site.source));
    if let Some(folder) = site.dependencies {
        path.extend(archives(&folder.join("lib")));
    }
    path
}

/// The `.jar` files of a folder, by name.
fn archives(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "jar"))
        .collect();
    found.sort();
    found
}

/// Compiles sources into a folder.
pub(super) async fn compile(
    site: &Site<'_>,
    java: &Interpreter,
    sources: Vec<PathBuf>,
    path: Vec<PathBuf>,
    to: &Path,
) -> Result<(), ToolError> {
    let mut command = Command::new(java.parts.first().unwrap_or(&java.path));
    let path = joined(path).map_err(|_| ToolError::Failed("a path has a colon in it".to_owned()))?;
    // No annotation processors: they would run inside the compiler.
    command.args(["-proc:none", "-nowarn", "-encoding", "UTF-8", "-J-Xmx512m", "-d"]);
    command.arg(to).arg("-cp").arg(path).args(sources);
    tool::with_environment(&mut command).current_dir(site.folder);
    tool::run(command, site.notes, COMPILE).await
}

/// The folder with the compiled worker.
async fn worker(site: &Site<'_>, java: &Interpreter) -> Result<PathBuf, StartError> {
    let io = |e: std::io::Error| StartError::Unavailable(format!("cannot prepare the JVM's worker: {e}"));
    let mut hash = Sha256::new();
    hash.update(&java.version);
    for (_, text) in WORKER {
        hash.update(text);
    }
    let name: String = hash
        .finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect();
    let done = site.cache.join(format!("jvm-{name}"));
    if done.exists() {
        return Ok(done);
    }
    let partial = tempfile::Builder::new()
        .prefix("partial-")
        .tempdir_in(site.cache)
        .map_err(io)?;
    let mut sources = Vec::new();
    for (name, text) in WORKER {
        let file = partial.path().join(name);
        std::fs::write(&file, text).map_err(io)?;
        sources.push(file);
    }
    let compiled = compile(site, java, sources, Vec::new(), partial.path()).await;
    compiled.map_err(|e| StartError::Unavailable(format!("cannot compile the JVM's worker: {e}")))?;
    match std::fs::rename(partial.path(), &done) {
        Ok(()) => drop(partial.keep()),
        // Another deploy has just compiled the same.
        Err(_) if done.exists() => {}
        Err(error) => return Err(io(error)),
    }
    Ok(done)
}

fn joined(path: Vec<PathBuf>) -> Result<OsString, StartError> {
    std::env::join_paths(path).map_err(|e| StartError::Invalid(e.to_string()))
}
