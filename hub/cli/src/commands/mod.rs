//! The commands, one family a file.

pub(crate) mod apply;
pub(crate) mod backup;
pub(crate) mod batch;
pub(crate) mod cancel;
pub(crate) mod completion;
pub(crate) mod context;
pub(crate) mod create;
pub(crate) mod cron;
pub(crate) mod delete;
pub(crate) mod dev;
pub(crate) mod driver;
pub(crate) mod edit;
pub(crate) mod emit;
pub(crate) mod exec;
mod follow;
pub(crate) mod get;
pub(crate) mod journal;
pub(crate) mod log;
pub(crate) mod redrive;
pub(crate) mod replay;
pub(crate) mod rerun;
pub(crate) mod rotate_key;
pub(crate) mod server;
pub(crate) mod supervise;
pub(crate) mod unpark;
pub(crate) mod update;
pub(crate) mod version;

use crate::args::global::Global;
use crate::client::Client;
use crate::output::Format;

/// What a command that talks to a hub works with.
pub(crate) struct Session {
    /// The hub.
    pub(crate) client: Client,
    /// How results are printed.
    pub(crate) format: Format,
    /// Whether a table may have all its columns.
    pub(crate) wide: bool,
}

impl Session {
    /// By flags, environment and configuration file.
    pub(crate) fn open(global: &Global) -> anyhow::Result<Self> {
        let settings = global.settings()?;
        Ok(Self {
            client: Client::new(&settings)?,
            wide: settings.format == Format::Wide,
            format: match settings.format {
                Format::Wide => Format::Table,
                format => format,
            },
        })
    }
}
