//! The configuration file: named contexts, each a hub to talk to.
//!
//! It is shared with the original tool, so what this one does not know is kept as it is. The flat form of
//! older versions (one hub, no contexts) is read as a context named `default`.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The name the one hub of a flat file gets.
const FLAT_NAME: &str = "default";

/// The file, as it is on disk.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    document: Map<String, Value>,
}

/// A hub to talk to. What is absent or empty is left to the defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Context {
    /// Host name or address.
    pub(crate) host: Option<String>,
    /// Port of the API.
    pub(crate) port: Option<u16>,
    /// `http` or `https`.
    pub(crate) scheme: Option<String>,
    /// Organization to work in.
    pub(crate) organization: Option<String>,
    /// Whether any TLS certificate will do.
    pub(crate) insecure: Option<bool>,
}

impl ConfigFile {
    /// Reads the file; one that is not there is empty.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let document = match fs::read(path) {
            Ok(bytes) if bytes.trim_ascii().is_empty() => Map::new(),
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("cannot read the configuration file {}", path.display()))?,
            Err(error) if error.kind() == ErrorKind::NotFound => Map::new(),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("cannot read the configuration file {}", path.display()));
            }
        };
        let mut file = Self {
            path: path.to_owned(),
            document,
        };
        file.lift_flat_form();
        Ok(file)
    }

    /// `$HOME/.dispatch/config.json`.
    pub(crate) fn default_path() -> PathBuf {
        let home = std::env::home_dir().unwrap_or_default();
        home.join(".dispatch").join("config.json")
    }

    /// Turns the flat form into a context. It knew no scheme: it always was https.
    fn lift_flat_form(&mut self) {
        if self.document.contains_key("contexts") || !self.document.contains_key("host") {
            return;
        }
        let mut flat = std::mem::take(&mut self.document);
        flat.entry("scheme").or_insert_with(|| json!("https"));
        self.document.insert("current".to_owned(), json!(FLAT_NAME));
        self.document
            .insert("contexts".to_owned(), json!({ FLAT_NAME: flat }));
    }

    /// Name of the context in use.
    pub(crate) fn current(&self) -> Option<&str> {
        self.document
            .get("current")?
            .as_str()
            .filter(|name| !name.is_empty())
    }

    /// Every context as it is written, by name.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.document
            .get("contexts")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
    }

    /// The context in use, or an empty one.
    pub(crate) fn context(&self) -> anyhow::Result<Context> {
        let Some(name) = self.current() else {
            return Ok(Context::default());
        };
        let Some((_, value)) = self.contexts().find(|(other, _)| *other == name) else {
            bail!(
                "{}: the current context {name} is not among the contexts",
                self.path.display()
            );
        };
        let mut context = Context::deserialize(value)
            .with_context(|| format!("{}: contexts.{name}", self.path.display()))?;
        for text in [&mut context.host, &mut context.scheme, &mut context.organization] {
            text.take_if(|text| text.is_empty());
        }
        Ok(context)
    }

    /// Makes `name` the context in use, after setting these of its fields.
    pub(crate) fn set(&mut self, name: &str, fields: Map<String, Value>) -> anyhow::Result<()> {
        let known = self.contexts().any(|(other, _)| other == name);
        if !known && fields.is_empty() {
            bail!("context {name} not found; give it a --host to make it");
        }
        let contexts = self.document.entry("contexts").or_insert_with(|| json!({}));
        let context = contexts
            .as_object_mut()
            .with_context(|| format!("{}: contexts is not an object", self.path.display()))?
            .entry(name)
            .or_insert_with(|| json!({}));
        context
            .as_object_mut()
            .with_context(|| format!("{}: contexts.{name} is not an object", self.path.display()))?
            .extend(fields);
        self.document.insert("current".to_owned(), json!(name));
        self.write()
    }

    /// Forgets the context.
    pub(crate) fn delete(&mut self, name: &str) -> anyhow::Result<()> {
        let gone = self
            .document
            .get_mut("contexts")
            .and_then(Value::as_object_mut)
            .and_then(|contexts| contexts.remove(name));
        if gone.is_none() {
            bail!("context {name} not found");
        }
        if self.current() == Some(name) {
            self.document.insert("current".to_owned(), json!(""));
        }
        self.write()
    }

    /// Replaces the file in one step; it may hold credentials, so it is nobody else's to read.
    fn write(&self) -> anyhow::Result<()> {
        let text = crate::output::json(&Value::Object(self.document.clone()))?;
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)
            .and_then(|()| tempfile::NamedTempFile::new_in(folder))
            .and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.write_all(b"\n")?;
                Ok(file.persist(&self.path)?)
            })
            .with_context(|| format!("cannot write the configuration file {}", self.path.display()))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, ConfigFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        fs::write(&path, text).unwrap();
        let file = ConfigFile::read(&path).unwrap();
        (folder, file)
    }

    #[test]
    fn the_original_s_file_is_understood() {
        let (_folder, file) = file(
            r#"{"current": "solo", "contexts": {"solo": {"host": "10.0.0.5", "port": 8080, "scheme": "http",
                "organization": "dispatch", "cookie": "cookie", "insecure": true, "api-https-port": 443}}}"#,
        );

        let context = file.context().unwrap();

        assert_eq!(context.host.as_deref(), Some("10.0.0.5"));
        assert_eq!((context.port, context.insecure), (Some(8080), Some(true)));
        assert_eq!(context.organization.as_deref(), Some("dispatch"));
    }

    #[test]
    fn the_flat_form_of_old_versions_is_a_context_over_https() {
        let (_folder, file) = file(
            r#"{"host": "dispatch.corp", "port": 443, "organization": "", "cookie": "", "skipauth": false, "Json": false}"#,
        );

        let context = file.context().unwrap();

        assert_eq!(file.current(), Some("default"));
        assert_eq!(context.host.as_deref(), Some("dispatch.corp"));
        assert_eq!(context.scheme.as_deref(), Some("https"));
        assert_eq!(context.organization, None);
    }

    #[test]
    fn setting_a_context_keeps_what_this_tool_does_not_know() {
        let (_folder, mut file) = file(
            r#"{"extra": 1, "current": "a", "contexts": {"a": {"host": "a", "cookie": "c"}, "b": {"host": "b"}}}"#,
        );

        file.set("a", Map::from_iter([("port".to_owned(), json!(81))]))
            .unwrap();
        file.set("b", Map::new()).unwrap();

        let again = ConfigFile::read(&file.path).unwrap();
        assert_eq!(again.current(), Some("b"));
        assert_eq!(again.document["extra"], 1);
        assert_eq!(
            again.document["contexts"]["a"],
            json!({"host": "a", "cookie": "c", "port": 81})
        );
    }

    #[test]
    fn an_unknown_context_is_neither_used_nor_deleted() {
        let (_folder, mut file) = file(r#"{"current": "gone", "contexts": {"a": {}}}"#);

        assert!(file.context().unwrap_err().to_string().contains("gone"));
        assert_eq!(
            file.set("other", Map::new()).unwrap_err().to_string(),
            "context other not found; give it a --host to make it"
        );
        assert_eq!(
            file.delete("other").unwrap_err().to_string(),
            "context other not found"
        );
    }

    #[test]
    fn a_wrong_field_is_named_with_its_context() {
        let (_folder, file) = file(r#"{"current": "a", "contexts": {"a": {"port": "eighty"}}}"#);

        let error = format!("{:#}", file.context().unwrap_err());

        assert!(
            error.contains("contexts.a") && error.contains("eighty"),
            "{error}"
        );
    }
}
