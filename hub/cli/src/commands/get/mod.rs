//! `dispatch get`: resources by kind and name, and what happened: runs, events, dead letters.

mod dead_letters;
mod deliveries;
mod events;
mod runs;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::Value;

use crate::client::Route;
use crate::commands::Session;
use crate::out;
use crate::output::Format;
use crate::resource::{
    API, BASE_IMAGE, DRIVER, DRIVER_TYPE, FUNCTION, IMAGE, Kind, SECRET, SUBSCRIPTION, driver_details,
};
use crate::stream::{Feed, Message};

/// What to show.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Args)]
struct Named {
    /// Its name; all of them if not given
    name: Option<String>,
}

#[derive(clap::Args)]
struct Apis {
    /// Its name; all of them if not given
    name: Option<String>,
    /// Only those of this function
    #[arg(
        long = "func",
        short,
        visible_alias = "function",
        value_name = "FUNCTION",
        conflicts_with = "name"
    )]
    function: Option<String>,
}

#[derive(clap::Args)]
struct Secrets {
    /// Its name; all of them if not given
    name: Option<String>,
    /// Show the values too, as JSON
    #[arg(long)]
    all: bool,
}

#[derive(Subcommand)]
enum What {
    /// Base images
    #[command(name = "base-image", visible_alias = "base-images", aliases = ["baseimage", "baseimages"])]
    BaseImage(Named),
    /// Images
    #[command(visible_alias = "images")]
    Image(Named),
    /// Functions
    #[command(visible_alias = "functions")]
    Function(Named),
    /// APIs
    #[command(visible_alias = "apis")]
    Api(Apis),
    /// Secrets
    #[command(visible_alias = "secrets")]
    Secret(Secrets),
    /// Subscriptions
    #[command(visible_alias = "subscriptions")]
    Subscription(Named),
    /// Event drivers
    #[command(name = "eventdriver", visible_alias = "eventdrivers", aliases = ["event-driver", "event-drivers"])]
    Driver(Named),
    /// Event driver types
    #[command(name = "eventdrivertype", visible_alias = "eventdrivertypes", aliases = ["event-driver-type", "event-driver-types", "eventdriver-type", "eventdriver-types"])]
    DriverType(Named),
    /// Runs of functions
    #[command(name = "run", visible_alias = "runs")]
    Runs(runs::Args),
    /// Events as they came in
    #[command(name = "event", visible_alias = "events")]
    Events(events::Args),
    /// Events that could not be delivered
    #[command(name = "deadletter", visible_alias = "deadletters", aliases = ["dead-letter", "dead-letters"])]
    DeadLetters(dead_letters::Args),
    /// Deliveries that are still owed
    #[command(name = "delivery", visible_alias = "deliveries")]
    Deliveries(deliveries::Args),
}

/// Shows.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let (kind, named): (&Kind, Named) = match args.what {
        What::BaseImage(named) => (&BASE_IMAGE, named),
        What::Image(named) => (&IMAGE, named),
        What::Function(named) => (&FUNCTION, named),
        What::Subscription(named) => (&SUBSCRIPTION, named),
        What::Driver(named) => return driver(named, session).await,
        What::DriverType(named) => (&DRIVER_TYPE, named),
        What::Api(said) => return apis(said, session).await,
        What::Secret(said) => return secrets(said, session).await,
        What::Runs(said) => return runs::run(said, session).await,
        What::Events(said) => return events::run(said, session).await,
        What::DeadLetters(said) => return dead_letters::run(said, session).await,
        What::Deliveries(said) => return deliveries::run(said, session).await,
    };
    let found = find(kind, named.name.as_deref(), session).await?;
    session.format.print(&found, || kind.table(&found))
}

async fn find(kind: &Kind, name: Option<&str>, session: &Session) -> anyhow::Result<Value> {
    let route = match name {
        Some(name) => Route::to(kind.path).named(name),
        None => Route::to(kind.path),
    };
    Ok(session.client.get(route).await?)
}

async fn apis(said: Apis, session: &Session) -> anyhow::Result<()> {
    let route = match (said.name, said.function) {
        (Some(name), _) => Route::to(API.path).named(&name),
        (None, Some(function)) => Route::to(API.path).with("function", function),
        (None, None) => Route::to(API.path),
    };
    let found = session.client.get(route).await?;
    session.format.print(&found, || API.table(&found))
}

/// With how its process fares when it is asked for by name, or all columns are wanted.
async fn driver(named: Named, session: &Session) -> anyhow::Result<()> {
    let found = find(&DRIVER, named.name.as_deref(), session).await?;
    session
        .format
        .print(&found, || match session.wide || named.name.is_some() {
            true => driver_details(&found),
            false => DRIVER.table(&found),
        })
}

async fn secrets(said: Secrets, session: &Session) -> anyhow::Result<()> {
    let found = find(&SECRET, said.name.as_deref(), session).await?;
    let format = match session.format {
        Format::Table if said.all => Format::Json,
        format => format,
    };
    format.print(&found, || {
        let note = "Note: secret values are hidden, please use --all flag to get them";
        format!("{note}\n\n{}", SECRET.table(&found))
    })
}

/// Gives each value of a stream to `print`, until it fails or the hub ends the stream.
async fn each_of(mut feed: Feed, mut print: impl FnMut(&Value) -> anyhow::Result<()>) -> anyhow::Result<()> {
    while let Some(message) = feed.next().await? {
        match message {
            Message::Comment(comment) => out::note(comment),
            Message::Data(data) => {
                let value = serde_json::from_str(&data)
                    .context("received unexpected error: the stream is not JSON")?;
                print(&value)?;
            }
        }
    }
    anyhow::bail!("the hub ended the stream")
}
