//! Flags of base images and images.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{read, read_json};

/// `create base-image`.
#[derive(clap::Args)]
pub(super) struct BaseImage {
    /// Its name
    name: String,
    /// Container image it comes from
    image_url: String,
    /// Language of its functions: python3, nodejs, java, clojure, powershell, exec, wasm, …
    #[arg(long, value_name = "LANG", default_value = "", hide_default_value = true)]
    language: String,
}

impl BaseImage {
    pub(super) fn body(self) -> Value {
        json!({"name": self.name, "dockerUrl": self.image_url, "language": self.language})
    }
}

/// `create image`.
#[derive(clap::Args)]
pub(super) struct Image {
    /// Its name
    name: String,
    /// Name of its base image
    base_image: String,
    /// JSON file: {"packages": [{"name", "version"}]}
    #[arg(long, value_name = "FILE")]
    system_deps: Option<PathBuf>,
    /// The language's own list of dependencies: requirements.txt, package.json, …
    #[arg(long, value_name = "FILE")]
    runtime_deps: Option<PathBuf>,
}

impl Image {
    pub(super) fn body(self) -> anyhow::Result<Value> {
        let mut body = json!({"name": self.name, "baseImageName": self.base_image});
        if let Some(path) = &self.system_deps {
            body["systemDependencies"] = read_json("--system-deps", path)?;
        }
        if let Some(path) = &self.runtime_deps {
            body["runtimeDependencies"] = json!({"manifest": read("--runtime-deps", path)?});
        }
        Ok(body)
    }
}
