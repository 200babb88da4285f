//! `dispatch cancel`: ends runs that have not ended.

use crate::client::Route;
use crate::commands::Session;
use crate::resource::text;

/// Which runs.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Ids of the runs
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
}

/// Cancels one after the other, and says so.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    for id in args.ids {
        let run = session.client.delete(Route::to("/v1/runs").named(&id)).await?;
        session
            .format
            .print_next(&run, || format!("Cancelled run: {}\n", text(&run, "name")))?;
    }
    Ok(())
}
