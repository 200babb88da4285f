//! `dispatch update`: replaces the resources of a file.

use crate::commands::Session;
use crate::commands::batch::{self, Verb};

/// Which file.
#[derive(clap::Args)]
#[command(mut_arg("file", |file| file.required(true)))]
pub(crate) struct Args {
    #[command(flatten)]
    file: batch::File,
}

/// Updates; what does not exist is a failure.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    batch::file(Verb::Update, &args.file, None, session).await
}
