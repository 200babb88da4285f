//! Executables of drivers, as the command line runs them: without a hub.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use dispatch_contract::SecretString;
use dispatch_driver_suite::Program;

/// How the executable of a driver type is called.
const PREFIX: &str = "dispatch-driver-";

/// Settings and secrets as the driver gets them from a hub.
#[derive(clap::Args)]
pub(crate) struct Settings {
    /// Settings: KEY=VALUE, or KEY alone for a switch
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    set: Vec<String>,
    /// A secret as it comes to the driver: a variable of its environment; NAME alone takes it from this one's
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = variable)]
    secret_env: Vec<Variable>,
}

/// A variable that cannot be printed.
#[derive(Clone)]
struct Variable(String, SecretString);

fn variable(text: &str) -> Result<Variable, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, std::env::var(text).ok()),
    };
    match value {
        Some(value) if !name.is_empty() => Ok(Variable(name.to_owned(), value.into())),
        Some(_) => Err("write NAME=VALUE".to_owned()),
        None => Err(format!("there is no variable {name} here; write {name}=VALUE")),
    }
}

impl Settings {
    /// That executable with these settings.
    pub(crate) fn of(self, path: PathBuf) -> Program {
        let secrets = self.secret_env.into_iter();
        Program {
            path,
            args: self.set.iter().map(|set| format!("--{set}")).collect(),
            secrets: secrets.map(|Variable(name, value)| (name, value)).collect(),
        }
    }
}

/// The executable of a driver type: beside this one, else where `PATH` has it.
pub(crate) fn of_type(name: &str) -> anyhow::Result<PathBuf> {
    let file = format!("{PREFIX}{name}");
    let own = std::env::current_exe().context("cannot say where this executable is")?;
    let beside = own.parent().map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.into_iter().chain(std::env::split_paths(&path));
    match folders
        .map(|folder| folder.join(&file))
        .find(|path| path.is_file())
    {
        Some(found) => Ok(found),
        None => bail!(
            "there is no executable {file} beside this one or on PATH; a file is written with its folder: ./{name}"
        ),
    }
}

/// A file if it is written like a path, else the executable of that type.
pub(crate) fn named(text: &str) -> anyhow::Result<PathBuf> {
    match text.contains('/') {
        true => std::fs::canonicalize(text).with_context(|| format!("cannot find {text}")),
        false => of_type(text),
    }
}
