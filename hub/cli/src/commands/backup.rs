//! `dispatch backup` and `dispatch restore`: a hub's data to a folder and back, by its files. The hub may run.

use std::path::PathBuf;

use dispatch_server::{Copied, Manifest};
use serde_json::json;

use crate::out;
use crate::output::Format;

/// Where from and where to.
#[derive(clap::Args)]
pub(crate) struct Backup {
    /// A new folder for the copy; on the disk of the data, what never changes takes no space again
    folder: PathBuf,
    /// The hub's data folder
    #[arg(
        long,
        value_name = "DIR",
        env = "DISPATCH_SERVER_DATA",
        hide_env_values = true,
        default_value = ".dispatch"
    )]
    data: PathBuf,
}

/// Where from and where to.
#[derive(clap::Args)]
pub(crate) struct Restore {
    /// The folder that `dispatch backup` made
    folder: PathBuf,
    /// A new data folder for a hub
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

/// Makes a copy of a hub's data.
pub(crate) fn backup(args: &Backup, format: Format) -> anyhow::Result<()> {
    let (manifest, copied) = dispatch_server::backup(&args.data, &args.folder)?;
    let done = format!("backed up {} to {}", args.data.display(), args.folder.display());
    print(format, &manifest, &copied, &done)
}

/// Makes a data folder from a copy.
pub(crate) fn restore(args: &Restore, format: Format) -> anyhow::Result<()> {
    let (manifest, copied) = dispatch_server::restore(&args.folder, &args.data)?;
    let done = format!("restored {} to {}", args.folder.display(), args.data.display());
    // It is in no backup.
    let key = args.data.join("secret.key").display().to_string();
    out::note(format_args!(
        "if there were secrets, put the key they were encrypted with into {key}"
    ));
    print(format, &manifest, &copied, &done)
}

fn print(format: Format, manifest: &Manifest, copied: &Copied, done: &str) -> anyhow::Result<()> {
    let document = json!({
        "taken": manifest.taken,
        "release": manifest.release,
        "first": copied.first,
        "head": copied.head,
        "segments": copied.segments,
        "linked": copied.linked,
        "bytes": copied.bytes,
    });
    format.print(&document, || {
        let (first, head) = (copied.first, copied.head);
        let (segments, bytes, linked) = (copied.segments, copied.bytes, copied.linked);
        format!("{done}: records {first} to {head}, {segments} segments of {bytes} bytes, {linked} shared\n")
    })
}
