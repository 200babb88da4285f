//! `dispatch apply`: creates what is not there and updates what is.

use clap::Subcommand;

use crate::commands::Session;
use crate::commands::batch::{self, Verb};

/// Which file, or the seed images.
#[derive(clap::Args)]
#[command(subcommand_negates_reqs = true, arg_required_else_help = true)]
pub(crate) struct Args {
    #[command(flatten)]
    file: batch::File,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand)]
enum What {
    /// The images to begin with
    #[command(alias = "seed")]
    SeedImages(batch::SeedImages),
}

/// Applies.
pub(crate) async fn run(args: Args, session: anyhow::Result<Session>) -> anyhow::Result<()> {
    args.file.is_alone(args.what.is_none())?;
    match args.what {
        Some(What::SeedImages(seed)) => batch::seed(Verb::Apply, &seed, session).await,
        None => batch::file(Verb::Apply, &args.file, None, &session?).await,
    }
}
