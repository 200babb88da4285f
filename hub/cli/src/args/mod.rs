//! The command line: every command and what all of them share.

pub(crate) mod global;

use clap::{Parser, Subcommand};

use crate::commands::{
    apply, backup, cancel, completion, context, create, cron, delete, dev, driver, edit, emit, exec, get,
    journal, log, redrive, replay, rerun, server, supervise, unpark, update, version,
};
use global::Global;

/// Dispatch: events from anywhere, to functions and web hooks, durably.
#[derive(Parser)]
#[command(
    name = "dispatch",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
#[command(max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run a hub
    Server(server::Args),
    /// Create resources
    Create(create::Args),
    /// Show resources, runs, events and dead letters
    Get(get::Args),
    /// Update the resources of a file
    Update(update::Args),
    /// Create or update the resources of a file
    Apply(apply::Args),
    /// Change a resource in $EDITOR
    Edit(edit::Args),
    /// Delete resources
    Delete(delete::Args),
    /// Stop an event driver until it is resumed
    Pause(supervise::Args),
    /// Let a paused event driver go on
    Resume(supervise::Args),
    /// Stop an event driver and start it again
    Restart(supervise::Args),
    /// Run a function
    Exec(exec::Args),
    /// Run a function once more as it ran before, with the same input or another
    Rerun(rerun::Args),
    /// End runs that have not ended
    Cancel(cancel::Args),
    /// Print what a function printed
    Log(log::Args),
    /// Run a function on this machine again and again while it is written
    Dev(Box<dev::Args>),
    /// Send an event
    Emit(emit::Args),
    /// Deliver dead letters again
    Redrive(redrive::Args),
    /// Deliver events once more that came before
    Replay(replay::Args),
    /// Try keys again that wait because an event of theirs could not be delivered
    Unpark(unpark::Args),
    /// Give the hub's secrets a new key
    RotateKey,
    /// Choose the hub to talk to
    Context(context::Args),
    /// Check a driver of your own, try a driver's settings, or print what its events look like
    Driver(driver::Args),
    /// Try a schedule
    Cron(cron::Args),
    /// Check or print a hub's journal, whether the hub runs or not
    Journal(journal::Args),
    /// Copy a hub's data, whether the hub runs or not
    Backup(backup::Backup),
    /// Make a data folder from a backup
    Restore(backup::Restore),
    /// Print what makes a shell complete these commands
    Completion(completion::Args),
    /// Print the versions of this tool and of the hub
    Version(version::Args),
}
