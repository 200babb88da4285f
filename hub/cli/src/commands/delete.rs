//! `dispatch delete`: resources by name, by file, or the seed images.

use clap::Subcommand;

use crate::client::Route;
use crate::commands::Session;
use crate::commands::batch::{self, Verb};
use crate::resource::{
    API, APPLICATION, BASE_IMAGE, DRIVER, DRIVER_TYPE, FUNCTION, IMAGE, Kind, SECRET, SUBSCRIPTION, text,
};

/// What goes.
#[derive(clap::Args)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    file: batch::File,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(clap::Args)]
struct Named {
    /// Its name
    name: String,
}

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("which").required(true).args(["id", "subscription"]))]
struct DeadLetters {
    /// Its id
    id: Option<String>,
    /// All of this subscription
    #[arg(long, value_name = "NAME")]
    subscription: Option<String>,
}

#[derive(Subcommand)]
enum What {
    /// An application; what belongs to it stays
    #[command(aliases = ["applications", "app", "apps"])]
    Application(Named),
    /// A base image
    #[command(name = "base-image", aliases = ["base-images", "baseimage", "baseimages"])]
    BaseImage(Named),
    /// An image
    #[command(alias = "images")]
    Image(Named),
    /// A function and its runs
    #[command(alias = "functions")]
    Function(Named),
    /// An API
    #[command(alias = "apis")]
    Api(Named),
    /// A secret
    #[command(alias = "secrets")]
    Secret(Named),
    /// A subscription
    #[command(alias = "subscriptions")]
    Subscription(Named),
    /// An event driver; its process is stopped
    #[command(name = "eventdriver", aliases = ["eventdrivers", "event-driver", "event-drivers"])]
    Driver(Named),
    /// An event driver type
    #[command(name = "eventdrivertype", aliases = ["eventdrivertypes", "event-driver-type", "event-driver-types", "eventdriver-type", "eventdriver-types"])]
    DriverType(Named),
    /// A dead letter, or all of a subscription
    #[command(name = "deadletter", aliases = ["deadletters", "dead-letter", "dead-letters"])]
    DeadLetters(DeadLetters),
    /// The images to begin with
    #[command(name = "seed-images", alias = "seed")]
    Seed(batch::SeedImages),
}

/// Deletes.
pub(crate) async fn run(args: Args, session: anyhow::Result<Session>) -> anyhow::Result<()> {
    args.file.is_alone(args.what.is_none())?;
    let (kind, named): (&Kind, Named) = match args.what {
        None => return batch::file(Verb::Delete, &args.file, None, &session?).await,
        Some(What::Seed(seed)) => return batch::seed(Verb::Delete, &seed, session).await,
        Some(What::DeadLetters(which)) => return dead_letters(which, &session?).await,
        Some(What::Application(named)) => (&APPLICATION, named),
        Some(What::BaseImage(named)) => (&BASE_IMAGE, named),
        Some(What::Image(named)) => (&IMAGE, named),
        Some(What::Function(named)) => (&FUNCTION, named),
        Some(What::Api(named)) => (&API, named),
        Some(What::Secret(named)) => (&SECRET, named),
        Some(What::Subscription(named)) => (&SUBSCRIPTION, named),
        Some(What::Driver(named)) => (&DRIVER, named),
        Some(What::DriverType(named)) => (&DRIVER_TYPE, named),
    };
    let session = session?;
    let answer = session
        .client
        .delete(Route::to(kind.path).named(&named.name))
        .await?;
    session
        .format
        .print(&answer, || format!("{}: {}\n", kind.deleted, named.name))
}

async fn dead_letters(which: DeadLetters, session: &Session) -> anyhow::Result<()> {
    let mut route = Route::to("/v1/deadletters");
    if let Some(name) = which.subscription {
        route = route.with("subscription", name);
    }
    if let Some(id) = which.id {
        route = route.named(&id);
    }
    let answer = session.client.delete(route).await?;
    let told = match text(&answer, "deleted") {
        one if one.is_empty() => text(&answer, "id"),
        many => many,
    };
    session
        .format
        .print(&answer, || format!("Deleted dead letters: {told}\n"))
}
