//! The key of the secrets, when it is given by the environment and not by a file.

use std::fmt;

use dispatch_contract::{ExposeSecret as _, SecretString};

/// One or several keys as text, the newest first. It does not print itself.
#[derive(Clone)]
pub struct SecretKey(pub SecretString);

impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}
