//! `dispatch journal`: looks at a hub's journal without the hub.

/// Nothing yet.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
