//! The languages: which program runs them, and whether it is on this machine.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use dispatch_contract::{Runtime, RuntimeState};
use tokio::process::Command;

const PROBE: Duration = Duration::from_secs(20);

/// A language whose functions this engine runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// `python3`
    Python,
    /// `nodejs`
    Node,
}

impl Language {
    /// The language of that name, if its functions run here.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "python3" => Some(Self::Python),
            "nodejs" => Some(Self::Node),
            _ => None,
        }
    }

    /// Prints the version, then the path of the program itself: what is on `PATH` may be a slow wrapper.
    fn probe(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Python => (
                "python3",
                &[
                    "-c",
                    "import sys; print('Python', sys.version.split()[0]); print(sys.executable)",
                ],
            ),
            Self::Node => (
                "node",
                &["-p", "'Node.js ' + process.version + '\\n' + process.execPath"],
            ),
        }
    }

    /// Finds the program.
    pub(crate) async fn find(self) -> Result<Interpreter, String> {
        let (program, arguments) = self.probe();
        let output = run(program, arguments).await?;
        let mut lines = output.lines().map(str::trim);
        let version = lines.next().unwrap_or_default().to_owned();
        let path = PathBuf::from(lines.next().unwrap_or_default());
        match path.is_absolute() {
            true => Ok(Interpreter { path, version }),
            false => Err(format!("`{program}` does not say where it is")),
        }
    }
}

/// A program that runs a language.
#[derive(Debug, Clone)]
pub(crate) struct Interpreter {
    pub(crate) path: PathBuf,
    pub(crate) version: String,
}

/// Looks for a language that images may name although its functions do not run here yet.
pub(crate) async fn look_for(name: &str) -> Runtime {
    let found = match name {
        "java" => run("java", &["-version"]).await,
        "powershell" => run("pwsh", &["--version"]).await,
        _ => Err(format!(
            "the language {name:?} is not known: use python3, nodejs, java or powershell"
        )),
    };
    Runtime {
        language: name.to_owned(),
        state: match found {
            Ok(output) => RuntimeState::Ready {
                version: output.lines().next().unwrap_or_default().trim().to_owned(),
            },
            Err(reason) => RuntimeState::Missing { reason },
        },
    }
}

/// What a program prints; `Err` in one line when it is missing or fails.
async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = match tokio::time::timeout(PROBE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(format!("no `{program}` on PATH"));
        }
        Ok(Err(error)) => return Err(format!("`{program}` cannot be started: {error}")),
        Err(_) => return Err(format!("`{program}` did not answer within {} s", PROBE.as_secs())),
    };
    // `java -version` writes to standard error.
    let text = match output.stdout.is_empty() {
        true => output.stderr,
        false => output.stdout,
    };
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&text).into_owned()),
        false => Err(format!("`{program}` does not run: {}", output.status)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_program_is_named() {
        assert_eq!(
            run("dispatch-no-such-program", &[]).await.unwrap_err(),
            "no `dispatch-no-such-program` on PATH"
        );
    }

    #[tokio::test]
    async fn an_unknown_language_is_missing() {
        let RuntimeState::Missing { reason } = look_for("cobol").await.state else {
            panic!("cobol was found");
        };
        assert!(reason.contains("cobol"), "{reason}");
    }
}
