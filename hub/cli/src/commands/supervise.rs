//! `dispatch pause`, `resume` and `restart`: what is told to an event driver that is there.

use clap::Subcommand;

use crate::client::Route;
use crate::commands::Session;
use crate::resource::DRIVER;

/// Which one.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    which: Which,
}

#[derive(Subcommand)]
enum Which {
    /// An event driver
    #[command(name = "eventdriver", visible_alias = "eventdrivers", aliases = ["event-driver", "event-drivers"])]
    Driver {
        /// Its name
        name: String,
    },
}

/// What it is told.
#[derive(Clone, Copy)]
pub(crate) enum Told {
    /// Stop until it is resumed.
    Pause,
    /// Go on.
    Resume,
    /// Stop and start.
    Restart,
}

/// Tells it, and says so.
pub(crate) async fn run(told: Told, args: Args, session: &Session) -> anyhow::Result<()> {
    let Which::Driver { name } = args.which;
    let (action, said) = match told {
        Told::Pause => ("pause", "Paused"),
        Told::Resume => ("resume", "Resumed"),
        Told::Restart => ("restart", "Restarted"),
    };
    let route = Route::to(DRIVER.path).named(&name).action(action);
    let answer = session.client.post(route, &serde_json::Value::Null).await?;
    session
        .format
        .print(&answer, || format!("{said} event driver: {name}\n"))
}
