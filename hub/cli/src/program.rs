//! Executables of drivers, as the command line runs them: without a hub.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use dispatch_contract::SecretString;
use dispatch_driver_suite::Program;
use serde_json::Value;

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
    /// A secret's file, as for `create secret`: its keys become variables; may be given several times
    #[arg(long, value_name = "FILE")]
    secret: Vec<PathBuf>,
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
    pub(crate) fn of(self, path: PathBuf) -> anyhow::Result<Program> {
        let mut secrets = Vec::new();
        for file in &self.secret {
            secrets.extend(variables(file)?);
        }
        secrets.extend(self.secret_env);
        Ok(Program {
            path,
            args: self.set.iter().map(|set| format!("--{set}")).collect(),
            secrets: secrets
                .into_iter()
                .map(|Variable(name, value)| (name, value))
                .collect(),
        })
    }
}

/// The keys of a secret as variables: `pass-word` is `PASS_WORD`. What stands in the file is in no error: it is secret.
fn variables(file: &Path) -> anyhow::Result<Vec<Variable>> {
    let place = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {place}"))?;
    let Ok(Value::Object(keys)) = serde_json::from_str(&text) else {
        bail!("{place}: must be one JSON object: {{\"key\": \"value\"}}");
    };
    let variable = |(key, value): (String, Value)| match value {
        Value::String(value) => Ok(Variable(key.to_uppercase().replace('-', "_"), value.into())),
        _ => Err(anyhow!("{place}: {key} must be a text")),
    };
    keys.into_iter().map(variable).collect()
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
