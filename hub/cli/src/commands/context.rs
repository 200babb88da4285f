//! `dispatch context`: which hub to talk to, kept in the configuration file.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use crate::args::global::Global;
use crate::config::ConfigFile;
use crate::out;
use crate::output::{self, Format};
use crate::table::Table;

/// What about it.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// Print the name of the context in use
    Current,
    /// Use a context; --host, --port, --scheme, --organization and --insecure given with it are kept in it
    Set {
        /// Its name
        name: String,
    },
    /// Forget a context
    Delete {
        /// Its name
        name: String,
    },
}

/// Shows or changes the configuration file.
pub(crate) fn run(args: Args, global: &Global) -> anyhow::Result<()> {
    let mut file = ConfigFile::read(&global.config_path())?;
    match args.what {
        None => list(&file, global.format()?),
        Some(What::Current) => match file.current() {
            Some(name) => Ok(out::line(name)?),
            None => anyhow::bail!("no context is in use; dispatch context set NAME --host HOST makes one"),
        },
        Some(What::Set { name }) => {
            file.set(&name, said(global))?;
            Ok(out::line(format_args!("Set context to {name}"))?)
        }
        Some(What::Delete { name }) => {
            file.delete(&name)?;
            Ok(out::line(format_args!("Deleted context {name}"))?)
        }
    }
}

fn list(file: &ConfigFile, format: Format) -> anyhow::Result<()> {
    let contexts: Map<String, Value> = file.contexts().map(|(k, v)| (k.clone(), v.clone())).collect();
    let document = json!({ "current": file.current().unwrap_or_default(), "contexts": contexts });
    let mut table = Table::new(&["CONTEXT", "CONFIG"]);
    for (name, context) in &contexts {
        let mark = if file.current() == Some(name) { "* " } else { "" };
        table.push(vec![
            format!("{mark}{name}"),
            output::json(&without_credentials(context))?,
        ]);
    }
    format.print(&without_credentials(&document), || table.render())
}

/// The flags that make a context, as the file writes them.
fn said(global: &Global) -> Map<String, Value> {
    let fields = [
        ("host", global.host.as_ref().map(|host| json!(host))),
        ("port", global.port.map(|port| json!(port))),
        ("scheme", global.scheme.as_ref().map(|scheme| json!(scheme))),
        (
            "organization",
            global.organization.as_ref().map(|name| json!(name)),
        ),
        ("insecure", global.insecure.map(|insecure| json!(insecure))),
    ];
    let said = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    said.collect()
}

/// The original keeps cookies and tokens in the same file: they are not for the screen.
fn without_credentials(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.iter().map(|(key, value)| {
                let hidden = matches!(key.as_str(), "cookie" | "token") && value.as_str() != Some("");
                let value = if hidden {
                    json!("<hidden>")
                } else {
                    without_credentials(value)
                };
                (key.clone(), value)
            });
            Value::Object(fields.collect())
        }
        other => other.clone(),
    }
}
