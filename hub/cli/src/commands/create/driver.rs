//! Flags of event drivers and their types.

use std::path::Path;

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::names;
use crate::out;
use crate::resource::text;

/// `create eventdrivertype`.
#[derive(clap::Args)]
pub(super) struct DriverType {
    /// Its name
    name: String,
    /// Its program: a path, a name the hub finds, or the container image of a known driver
    image: String,
    /// Its drivers listen for requests from outside
    #[arg(long)]
    expose: bool,
}

impl DriverType {
    pub(super) fn body(self) -> anyhow::Result<Value> {
        Ok(json!({"name": self.name, "image": absolute(&self.image)?, "expose": self.expose}))
    }
}

/// A path means the file seen from here: the hub runs elsewhere. Anything else stays as it is.
fn absolute(image: &str) -> anyhow::Result<String> {
    let path = Path::new(image);
    let is_path = [".", "..", "/"].iter().any(|begin| path.starts_with(begin)) || path.is_file();
    if !is_path {
        return Ok(image.to_owned());
    }
    let path = path
        .canonicalize()
        .with_context(|| format!("cannot read {image}"))?;
    path.into_os_string()
        .into_string()
        .map_err(|path| anyhow::anyhow!("{} is not UTF-8", path.display()))
}

/// `create eventdriver`.
#[derive(clap::Args)]
pub(super) struct Driver {
    /// Name of its type
    #[arg(value_name = "TYPE")]
    ty: String,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Settings: KEY=VALUE, or KEY alone for a switch
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    set: Vec<String>,
    /// Names of secrets; each of their keys becomes an environment variable
    #[arg(long = "secret", value_name = "NAME", value_delimiter = ',')]
    secrets: Vec<String>,
    /// Extensions its program is asked to add to each event, as K_CE_OVERRIDES
    #[arg(long = "extension", value_name = "NAME=VALUE", value_parser = extension)]
    extensions: Vec<(String, String)>,
}

fn extension(said: &str) -> Result<(String, String), String> {
    let (name, value) = said.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Driver {
    pub(super) fn body(self) -> Value {
        let config: Vec<_> = self
            .set
            .iter()
            .map(|item| {
                let (key, value) = item.split_once('=').unwrap_or((item, ""));
                json!({"key": key, "value": value})
            })
            .collect();
        let extensions: serde_json::Map<_, _> = self
            .extensions
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .collect();
        let mut body = json!({
            "name": self.name.unwrap_or_else(names::generate),
            "type": self.ty,
            "config": config,
            "secrets": self.secrets,
        });
        if !extensions.is_empty() {
            body["extensions"] = Value::Object(extensions);
        }
        body
    }
}

/// When a new schedule will tick; beside the result, which stays what it always was.
pub(super) fn tell_next_ticks(answer: &Value) {
    let ticks = text(answer, "nextTicks");
    if !ticks.is_empty() {
        out::note(format_args!("Next ticks: {}", ticks.replace('\n', ", ")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_may_hold_more_equals_signs_or_none() {
        let driver = Driver {
            ty: "cron".to_owned(),
            name: Some("n".to_owned()),
            set: ["a=b=c", "flag", "empty=", "cron=0/10 * * * *"]
                .map(str::to_owned)
                .to_vec(),
            secrets: Vec::new(),
            extensions: Vec::new(),
        };

        let expected = json!([
            {"key": "a", "value": "b=c"},
            {"key": "flag", "value": ""},
            {"key": "empty", "value": ""},
            {"key": "cron", "value": "0/10 * * * *"},
        ]);
        assert_eq!(driver.body()["config"], expected);
    }

    #[test]
    fn a_path_is_made_absolute_and_a_container_image_is_not() {
        let here = std::env::current_dir().unwrap();

        let image = "dispatchframework/dispatch-events-cron:0.0.1";
        assert_eq!(absolute(image).unwrap(), image);
        assert_eq!(absolute("ticker").unwrap(), "ticker");
        assert_eq!(
            absolute("./Cargo.toml").unwrap(),
            here.join("Cargo.toml").to_str().unwrap()
        );
        assert_eq!(
            absolute("Cargo.toml").unwrap(),
            here.join("Cargo.toml").to_str().unwrap()
        );
        assert!(absolute("./gone").unwrap_err().to_string().contains("./gone"));
    }
}
