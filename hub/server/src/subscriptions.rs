//! From a subscription as written to a lane of the router.

use dispatch_router::Subscription;
use dispatch_store::StoreError;

use crate::functions::Functions;
use crate::hub::Foundation;

/// The lanes the router starts with: one for each subscription of the store, behind its own progress.
pub(crate) async fn recover(_: &Foundation, _: &Functions) -> Result<Vec<Subscription>, StoreError> {
    Ok(Vec::new())
}
