//! `dispatch get`: resources by kind and name, and what happened: runs, events, dead letters.

mod dead_letters;
mod deliveries;
mod events;
mod runs;

use clap::Subcommand;
use serde_json::Value;

use crate::application;
use crate::client::Route;
use crate::commands::Session;
use crate::output::Format;
use crate::resource::{
    API, APPLICATION, BASE_IMAGE, DRIVER, DRIVER_TYPE, FUNCTION, IMAGE, Kind, SECRET, SUBSCRIPTION,
    driver_details,
};

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
    /// Only those of this application
    #[arg(long, short, value_name = "NAME", conflicts_with = "name")]
    application: Option<String>,
}

#[derive(clap::Args)]
struct Apis {
    #[command(flatten)]
    named: Named,
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
struct Image {
    #[command(flatten)]
    named: Named,
    /// Show what the tools said when it was last built
    #[arg(long, requires = "name")]
    log: bool,
}

#[derive(clap::Args)]
struct Secrets {
    #[command(flatten)]
    named: Named,
    /// Show the values too, as JSON
    #[arg(long)]
    all: bool,
}

#[derive(Subcommand)]
enum What {
    /// Applications
    #[command(visible_alias = "applications", aliases = ["app", "apps"])]
    Application(Named),
    /// Base images
    #[command(name = "base-image", visible_alias = "base-images", aliases = ["baseimage", "baseimages"])]
    BaseImage(Named),
    /// Images
    #[command(visible_alias = "images")]
    Image(Image),
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
        What::Application(named) => (&APPLICATION, named),
        What::BaseImage(named) => (&BASE_IMAGE, named),
        What::Image(Image { named, log: false }) => (&IMAGE, named),
        What::Image(Image { named, log: true }) => {
            return log(&named.name.unwrap_or_default(), session).await;
        }
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
    let found = session.client.get(listed(kind, &named)).await?;
    session.format.print(&found, || kind.table(&found))
}

fn listed(kind: &Kind, named: &Named) -> Route {
    match &named.name {
        Some(name) => Route::to(kind.path).named(name),
        None => application::narrow(Route::to(kind.path), named.application.as_deref()),
    }
}

async fn apis(said: Apis, session: &Session) -> anyhow::Result<()> {
    let mut route = listed(&API, &said.named);
    if let Some(function) = said.function {
        route = route.with("function", function);
    }
    let found = session.client.get(route).await?;
    session.format.print(&found, || API.table(&found))
}

/// With how its process fares when it is asked for by name, or all columns are wanted.
async fn driver(named: Named, session: &Session) -> anyhow::Result<()> {
    let found = session.client.get(listed(&DRIVER, &named)).await?;
    session
        .format
        .print(&found, || match session.wide || named.name.is_some() {
            true => driver_details(&found),
            false => DRIVER.table(&found),
        })
}

/// What an image's tools said.
async fn log(image: &str, session: &Session) -> anyhow::Result<()> {
    let route = Route::to(IMAGE.path).named(image).action("log");
    let found = session.client.get(route).await?;
    session.format.print(&found, || {
        let lines = found["lines"].as_array().into_iter().flatten();
        lines
            .filter_map(Value::as_str)
            .map(|line| format!("{line}\n"))
            .collect()
    })
}

/// The values are asked for only where they are printed: with `--all`, and as JSON and YAML as in the original.
async fn secrets(said: Secrets, session: &Session) -> anyhow::Result<()> {
    let format = match session.format {
        Format::Table if said.all => Format::Json,
        format => format,
    };
    let mut route = listed(&SECRET, &said.named);
    if format != Format::Table {
        route = route.with("reveal", "true");
    }
    let found = session.client.get(route).await?;
    format.print(&found, || {
        let note = "Note: secret values are hidden, please use --all flag to get them";
        format!("{note}\n\n{}", SECRET.table(&found))
    })
}
