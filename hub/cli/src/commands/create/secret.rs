//! Flags of secrets. What a file holds goes to the hub and nowhere else, not into an error either.

use std::path::PathBuf;

use anyhow::bail;
use serde_json::{Map, Value, json};

use super::read;

/// `create secret`.
#[derive(clap::Args)]
pub(super) struct Secret {
    /// Its name
    name: String,
    /// JSON file: an object of texts
    file: PathBuf,
}

impl Secret {
    pub(super) fn body(self) -> anyhow::Result<Value> {
        let path = self.file.display();
        let text = read("secret", &self.file)?;
        let secrets: Map<String, Value> = match serde_json::from_str(&text) {
            Ok(secrets) => secrets,
            // The parser's own message could quote a value.
            Err(error) => bail!(
                "{path}: line {}, column {}: is not a JSON object of texts",
                error.line(),
                error.column()
            ),
        };
        if let Some((key, _)) = secrets.iter().find(|(_, value)| !value.is_string()) {
            bail!("{path}: the value of {key:?} must be a text: put quotes around it");
        }
        Ok(json!({"name": self.name, "secrets": secrets}))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_secret_s_file_is_said_without_its_values() {
        let folder = tempfile::tempdir().unwrap();
        let table = [
            ("{\n\"pin\": 4711}", "the value of \"pin\" must be a text"),
            ("{\n\"pin\": \"4711\n\"}", "line 3, column"),
            ("[\"4711\"]", "is not a JSON object of texts"),
        ];

        for (text, expected) in table {
            let file = folder.path().join("secret.json");
            std::fs::write(&file, text).unwrap();
            let secret = Secret {
                name: "s".to_owned(),
                file,
            };
            let error = format!("{:#}", secret.body().unwrap_err());
            assert!(error.contains(expected) && !error.contains("4711"), "{error}");
        }
    }
}
