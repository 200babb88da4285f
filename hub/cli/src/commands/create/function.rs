//! Flags of functions.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use super::limits::Limits;
use super::read_json;
use crate::source;

/// `create function`.
#[derive(clap::Args)]
pub(super) struct Function {
    /// Its name
    name: String,
    /// File or folder of its code, or where it can be fetched (https://…)
    path: PathBuf,
    /// Name of its image
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// Which function of the code, in the language's notation; a folder needs it
    #[arg(long, value_name = "HANDLER", default_value = "", hide_default_value = true)]
    handler: String,
    /// File with the JSON schema of what it gets
    #[arg(long, value_name = "FILE")]
    schema_in: Option<PathBuf>,
    /// File with the JSON schema of what it returns
    #[arg(long, value_name = "FILE")]
    schema_out: Option<PathBuf>,
    /// Names of secrets it gets
    #[arg(long = "secret", value_name = "NAME", value_delimiter = ',')]
    secrets: Vec<String>,
    /// Names of services it gets
    #[arg(long = "service", value_name = "NAME", value_delimiter = ',', hide = true)]
    services: Vec<String>,
    /// How long one run may take, milliseconds; 0 leaves it to the hub
    #[arg(long, value_name = "MS", default_value_t = 0)]
    timeout: u32,
    /// Workers that stay although nobody calls
    #[arg(long, value_name = "N")]
    min_workers: Option<u32>,
    /// Workers at most
    #[arg(long, value_name = "N")]
    max_workers: Option<u32>,
    /// How long a worker that is not needed stays, milliseconds
    #[arg(long, value_name = "MS")]
    idle_timeout: Option<u32>,
    /// Calls one worker takes at a time, where its language can
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    #[command(flatten)]
    limits: Limits,
}

impl Function {
    pub(super) fn body(self) -> anyhow::Result<Value> {
        let name = self.name;
        let failed = || format!("error creating function {name}");
        if self.handler.is_empty() && self.path.is_dir() {
            let path = self.path.display();
            bail!(
                "{}: handler is required, source path {path} is a directory",
                failed()
            );
        }
        let mut body = json!({
            "name": name,
            "image": self.image,
            "handler": self.handler,
            "secrets": self.secrets,
            "timeout": self.timeout,
        });
        match self
            .path
            .to_str()
            .filter(|p| p.starts_with("http://") || p.starts_with("https://"))
        {
            Some(url) => body["sourceURL"] = json!(url),
            None => body["source"] = json!(source::pack(&self.path).with_context(failed)?),
        }
        let scale = [
            ("minWorkers", self.min_workers),
            ("maxWorkers", self.max_workers),
            ("idleTimeout", self.idle_timeout),
            ("concurrency", self.concurrency),
        ];
        for (key, said) in scale {
            if let Some(said) = said {
                body["scale"][key] = json!(said);
            }
        }
        self.limits.put_into(&mut body);
        if !self.services.is_empty() {
            body["services"] = json!(self.services);
        }
        for (flag, key, path) in [
            ("--schema-in", "in", &self.schema_in),
            ("--schema-out", "out", &self.schema_out),
        ] {
            if let Some(path) = path {
                body["schema"][key] = read_json(flag, path)?;
            }
        }
        Ok(body)
    }
}
