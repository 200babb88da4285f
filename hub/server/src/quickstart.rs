//! `--quickstart`: a first start with something to see, and runs printed as they happen.

use crate::hub::App;

/// Seeds what is missing, and prints runs until the hub stops.
pub(crate) async fn run(_: App) {}
