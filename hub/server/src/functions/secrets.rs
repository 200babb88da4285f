//! The values a call gets: all keys of all named secrets, merged flat; later ones win.

use std::collections::BTreeMap;

use dispatch_contract::SecretString;
use dispatch_schemas::Secret;
use dispatch_store::{Store, StoreError};

/// Why a call gets no secrets.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    /// A name nobody knows; its caller or the function's author must change it.
    #[error("{0}")]
    Missing(String),
    /// The store cannot be read now.
    #[error("the store cannot be read")]
    Store(#[source] StoreError),
}

/// Reads the named secrets.
pub(crate) async fn collect(
    store: &Store,
    organization: &str,
    names: impl Iterator<Item = &String>,
) -> Result<BTreeMap<String, SecretString>, SecretsError> {
    let mut values = BTreeMap::new();
    for name in names {
        let secret = match store.get::<Secret>(organization, name).await {
            Ok(secret) => secret,
            Err(error @ StoreError::NotFound { .. }) => return Err(SecretsError::Missing(error.to_string())),
            Err(error) => return Err(SecretsError::Store(error)),
        };
        values.extend(
            secret
                .secrets
                .iter()
                .map(|(key, value)| (key.clone(), value.to_secret_string())),
        );
    }
    Ok(values)
}
