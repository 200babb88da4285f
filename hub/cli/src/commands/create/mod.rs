//! `dispatch create`: one resource by flags, or many by file. One file per family of flags.

mod api;
mod driver;
mod function;
mod image;
mod limits;
mod secret;
mod subscription;

use std::path::Path;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::{Value, json};

use crate::application;
use crate::client::Route;
use crate::commands::Session;
use crate::commands::batch::{self, Verb};
use crate::resource::{
    API, APPLICATION, BASE_IMAGE, DRIVER, DRIVER_TYPE, FUNCTION, IMAGE, Kind, SECRET, SUBSCRIPTION,
};

/// What to create.
#[derive(clap::Args)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    file: batch::File,
    /// Put what is created into this application
    #[arg(long, short, global = true, value_name = "NAME")]
    application: Option<String>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// An application: a label over what belongs together
    #[command(alias = "app")]
    Application {
        /// Its name
        name: String,
    },
    /// A base image: a language's runtime
    #[command(name = "base-image", alias = "baseimage")]
    BaseImage(image::BaseImage),
    /// An image: a base image with dependencies
    Image(image::Image),
    /// A function, from a file or a folder
    Function(Box<function::Function>),
    /// An API: an HTTP route in front of a function
    Api(Box<api::Api>),
    /// A secret, from a JSON file of texts
    Secret(secret::Secret),
    /// A subscription: which events go to a function or a web hook
    Subscription(Box<subscription::Subscription>),
    /// An event driver: a running program that sends events
    #[command(name = "eventdriver", aliases = ["eventdrivers", "event-driver", "event-drivers"])]
    Driver(driver::Driver),
    /// An event driver type: a program that can be such a driver
    #[command(name = "eventdrivertype", aliases = ["eventdrivertypes", "event-driver-type", "event-driver-types", "eventdriver-type", "eventdriver-types"])]
    DriverType(driver::DriverType),
    /// The images to begin with
    #[command(name = "seed-images", alias = "seed")]
    Seed(batch::SeedImages),
}

/// Creates.
pub(crate) async fn run(args: Args, session: anyhow::Result<Session>) -> anyhow::Result<()> {
    args.file.is_alone(args.what.is_none())?;
    let application = args.application.as_deref();
    let (kind, mut body) = match args.what {
        None => return batch::file(Verb::Create, &args.file, application, &session?).await,
        Some(What::Application { name }) => (&APPLICATION, json!({"name": name})),
        Some(What::Seed(seed)) => return batch::seed(Verb::Create, &seed, session).await,
        Some(What::BaseImage(said)) => (&BASE_IMAGE, said.body()),
        Some(What::Image(said)) => (&IMAGE, said.body()?),
        Some(What::Function(said)) => (&FUNCTION, said.body()?),
        Some(What::Api(said)) => (&API, said.body()),
        Some(What::Secret(said)) => (&SECRET, said.body()?),
        Some(What::Subscription(said)) => (&SUBSCRIPTION, said.body()),
        Some(What::Driver(said)) => (&DRIVER, said.body()),
        Some(What::DriverType(said)) => (&DRIVER_TYPE, said.body()?),
    };
    application::join(&mut body, application);
    one(kind, &body, &session?).await
}

async fn one(kind: &Kind, body: &Value, session: &Session) -> anyhow::Result<()> {
    let answer = session.client.post(Route::to(kind.path), body).await?;
    let name = body["name"].as_str().unwrap_or_default();
    session
        .format
        .print(&answer, || format!("{}: {name}\n", kind.created))?;
    driver::tell_next_ticks(&answer);
    Ok(())
}

/// A file the command line names, as text.
fn read(flag: &str, path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{flag}: cannot read {}", path.display()))
}

/// A file the command line names, as JSON.
fn read_json(flag: &str, path: &Path) -> anyhow::Result<Value> {
    serde_json::from_str(&read(flag, path)?)
        .with_context(|| format!("{flag}: {} is not JSON", path.display()))
}
