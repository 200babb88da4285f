//! Resource files: several YAML documents, each a resource of some kind.
//!
//! The whole file is read and checked before the hub hears of any of it: a wrong kind in the fifth document
//! leaves nothing half done. What a document refers to (`sourcePath`, `@file`) lies in the work folder; a
//! file from the web brings it along from beside its own address.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use reqwest::Url;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::application;
use crate::client;
use crate::names;
use crate::resource::{KINDS, Kind};
use crate::source;

const MAX_FILE_BYTES: usize = 16 * 1024 * 1024;

/// One resource of a file.
pub(crate) struct Document {
    /// What it is.
    pub(crate) kind: &'static Kind,
    /// Its name.
    pub(crate) name: String,
    /// The resource, ready for the hub.
    pub(crate) body: Map<String, Value>,
    place: Place,
}

/// Where in which file.
#[derive(Clone)]
struct Place {
    file: String,
    number: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: document {}", self.file, self.number)
    }
}

impl Document {
    /// Puts the resource into an application.
    pub(crate) fn join(&mut self, application: Option<&str>) {
        let mut body = Value::Object(std::mem::take(&mut self.body));
        application::join(&mut body, application);
        if let Value::Object(body) = body {
            self.body = body;
        }
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {})", self.place, self.kind.word, self.name)
    }
}

/// What will be done with the documents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// They are new: a name may be missing.
    Create,
    /// They replace others.
    Replace,
    /// They go: what they refer to is not read.
    Delete,
}

/// Reads a file or a URL.
pub(crate) async fn load(from: &str, work_dir: &Path, purpose: Purpose) -> anyhow::Result<Vec<Document>> {
    let web = Url::parse(from)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https"));
    let text = match &web {
        Some(url) => {
            let bytes = client::download(url, MAX_FILE_BYTES)
                .await
                .with_context(|| format!("cannot fetch {url}"))?;
            String::from_utf8(bytes).with_context(|| format!("{url} is not UTF-8"))?
        }
        None => std::fs::read_to_string(from).with_context(|| format!("cannot read {from}"))?,
    };
    let mut documents = parse(from, &text, purpose)?;
    if purpose != Purpose::Delete {
        let files = Files {
            work_dir,
            web: web.as_ref(),
        };
        for document in &mut documents {
            let place = document.to_string();
            files.fill(document).await.context(place)?;
        }
    }
    Ok(documents)
}

/// Reads the text of a file, without what it refers to.
pub(crate) fn parse(file: &str, text: &str, purpose: Purpose) -> anyhow::Result<Vec<Document>> {
    let mut documents = Vec::new();
    for (n, yaml) in serde_norway::Deserializer::from_str(text).enumerate() {
        let place = Place {
            file: file.to_owned(),
            number: n + 1,
        };
        let value = Value::deserialize(yaml).with_context(|| place.to_string())?;
        match value {
            Value::Null => {}
            Value::Object(map) => documents.push(read(place, map, purpose)?),
            _ => bail!("{place}: is not a resource: it needs kind: and name:"),
        }
    }
    if documents.is_empty() {
        bail!("{file}: holds no resources");
    }
    Ok(documents)
}

fn read(place: Place, mut map: Map<String, Value>, purpose: Purpose) -> anyhow::Result<Document> {
    let known = || {
        let words: Vec<_> = KINDS.iter().map(|kind| kind.word).collect();
        words.join(", ")
    };
    let key = map.keys().find(|key| key.eq_ignore_ascii_case("kind")).cloned();
    let Some(Value::String(word)) = key.and_then(|key| map.remove(&key)) else {
        bail!("{place}: kind is missing; it is one of {}", known());
    };
    let Some(kind) = Kind::by_word(&word) else {
        bail!("{place}: kind {word} is not known; it is one of {}", known());
    };
    let corrected = kind.shape.corrected(Value::Object(map));
    let mut body = match corrected {
        Ok(Value::Object(body)) => body,
        Ok(_) => bail!("{place}: is not a resource"),
        Err(key) => bail!("{place}: {key} is there twice"),
    };
    let name = match body.get("name") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        None if kind.names_itself && purpose == Purpose::Create => names::generate(),
        None => bail!("{place}: a {} needs a name", kind.word),
        Some(_) => bail!("{place}: name must be a text of at least one letter"),
    };
    body.insert("name".to_owned(), json!(name));
    body.insert("kind".to_owned(), json!(kind.word));
    texts_of_config(&mut body);
    Ok(Document {
        kind,
        name,
        body,
        place,
    })
}

/// `config: [{key: seconds, value: 2}]` means the text `2`.
fn texts_of_config(body: &mut Map<String, Value>) {
    for item in body
        .get_mut("config")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(value) = item.get_mut("value")
            && (value.is_number() || value.is_boolean())
        {
            *value = json!(value.to_string());
        }
    }
}

/// Where the files of a resource file are.
struct Files<'a> {
    work_dir: &'a Path,
    web: Option<&'a Url>,
}

impl Files<'_> {
    /// Puts the files a document refers to into it.
    async fn fill(&self, document: &mut Document) -> anyhow::Result<()> {
        if let Some(path) = document.body.remove("sourcePath") {
            let path = path.as_str().context("sourcePath must be a text")?;
            let path = self.find(path).await.context("sourcePath")?;
            let handler = document
                .body
                .get("handler")
                .and_then(Value::as_str)
                .unwrap_or_default();
            if path.is_dir() && handler.is_empty() {
                bail!(
                    "handler is required, source path {} is a directory",
                    path.display()
                );
            }
            document
                .body
                .insert("source".to_owned(), json!(source::pack(&path)?));
        }
        let manifest = document
            .body
            .get_mut("runtimeDependencies")
            .and_then(|d| d.get_mut("manifest"));
        if let Some(manifest) = manifest
            && let Some(name) = manifest.as_str().and_then(|text| text.strip_prefix('@'))
        {
            let path = self.find(name).await.context("runtimeDependencies.manifest")?;
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("runtimeDependencies.manifest: cannot read {}", path.display()))?;
            *manifest = json!(text);
        }
        Ok(())
    }

    /// The file on this machine; from the web it is fetched into the work folder first.
    async fn find(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.work_dir.join(name);
        let Some(web) = self.web else {
            return Ok(path);
        };
        let stays_inside = Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !stays_inside {
            bail!("{name} of a file from the web must lie below the work folder");
        }
        let url = web
            .join(name)
            .with_context(|| format!("{name} makes no address beside {web}"))?;
        let bytes = client::download(&url, MAX_FILE_BYTES)
            .await
            .with_context(|| format!("cannot fetch {url}"))?;
        let written = match path.parent() {
            Some(folder) => std::fs::create_dir_all(folder),
            None => Ok(()),
        };
        written
            .and_then(|()| std::fs::write(&path, bytes))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str, purpose: Purpose) -> String {
        let Err(error) = parse("f.yaml", text, purpose) else {
            panic!("{text:?} was accepted");
        };
        format!("{error:#}")
    }

    #[test]
    fn a_file_holds_several_kinds_in_its_own_order() {
        let text = "kind: Secret\nname: s\nsecrets: {a: b}\n---\n# nothing\n---\nKIND: subscription\neventtype: t\nfunction: f\nname: sub\n";

        let documents = parse("f.yaml", text, Purpose::Replace).unwrap();

        let told: Vec<_> = documents.iter().map(|d| (d.kind.word, d.name.as_str())).collect();
        assert_eq!(told, [("Secret", "s"), ("Subscription", "sub")]);
        assert_eq!(documents[1].body["eventType"], "t");
        assert_eq!(documents[1].to_string(), "f.yaml: document 3 (Subscription sub)");
    }

    #[test]
    fn dashes_inside_a_text_split_nothing() {
        let text = "kind: Secret\nname: s\nsecrets:\n  key: |\n    -----BEGIN KEY-----\n    ---\n    x\n  other: \"a---b\"\n";

        let documents = parse("f.yaml", text, Purpose::Create).unwrap();

        assert_eq!(documents.len(), 1);
        assert_eq!(
            documents[0].body["secrets"]["key"],
            "-----BEGIN KEY-----\n---\nx\n"
        );
    }

    #[test]
    fn an_unknown_kind_names_its_document() {
        let error = failure(
            "kind: Secret\nname: s\n---\nkind: Policy\nname: p\n",
            Purpose::Create,
        );

        assert!(
            error.starts_with(
                "f.yaml: document 2: kind Policy is not known; it is one of Application, BaseImage"
            ),
            "{error}"
        );
        let error = failure("name: s\n", Purpose::Create);
        assert!(
            error.starts_with("f.yaml: document 1: kind is missing"),
            "{error}"
        );
    }

    #[test]
    fn broken_yaml_is_named_with_document_line_and_column() {
        let error = failure("kind: Secret\nname: s\n---\nkind: [\n", Purpose::Create);

        assert!(
            error.contains("document 2") && error.contains("line 5"),
            "{error}"
        );
    }

    #[test]
    fn numbers_in_a_driver_s_config_become_texts() {
        let text = "kind: Driver\nname: ticker\ntype: ticker\nconfig: [{key: seconds, value: 2}, {Key: on, VALUE: true}]\n";

        let documents = parse("f.yaml", text, Purpose::Create).unwrap();

        let expected = json!([{"key": "seconds", "value": "2"}, {"key": "on", "value": "true"}]);
        assert_eq!(documents[0].body["config"], expected);
    }

    #[test]
    fn only_what_is_new_may_leave_its_name_to_chance() {
        let text = "kind: Subscription\neventType: t\nfunction: f\n";

        assert_eq!(
            parse("f.yaml", text, Purpose::Create).unwrap()[0]
                .name
                .split('-')
                .count(),
            3
        );
        assert_eq!(
            failure(text, Purpose::Replace),
            "f.yaml: document 1: a Subscription needs a name"
        );
        assert_eq!(
            failure("kind: Function\n", Purpose::Create),
            "f.yaml: document 1: a Function needs a name"
        );
    }

    #[tokio::test]
    async fn source_and_manifest_come_from_the_work_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        std::fs::create_dir(folder.path().join("py")).unwrap();
        std::fs::write(folder.path().join("py/hello.py"), "x").unwrap();
        std::fs::write(folder.path().join("requirements.txt"), "requests\n").unwrap();
        let text = "kind: Function\nname: f\nimage: python3\nsourcepath: py/hello.py\n---\nkind: Image\nname: i\nbaseimagename: b\nruntimedependencies: {manifest: '@requirements.txt'}\n";
        std::fs::write(&file, text).unwrap();

        let documents = load(file.to_str().unwrap(), folder.path(), Purpose::Create)
            .await
            .unwrap();

        assert!(documents[0].body["source"].as_str().unwrap().len() > 40);
        assert!(!documents[0].body.contains_key("sourcePath"));
        assert_eq!(documents[1].body["runtimeDependencies"]["manifest"], "requests\n");
    }

    #[tokio::test]
    async fn a_folder_needs_a_handler_and_a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("all.yaml");
        let from = file.to_str().unwrap();

        std::fs::write(&file, "kind: Function\nname: f\nsourcePath: .\n").unwrap();
        let no_handler = load(from, folder.path(), Purpose::Create).await.err().unwrap();
        std::fs::write(&file, "kind: Function\nname: f\nsourcePath: gone.py\n").unwrap();
        let missing = load(from, folder.path(), Purpose::Create).await.err().unwrap();

        assert!(
            format!("{no_handler:#}").contains("document 1 (Function f): handler is required"),
            "{no_handler:#}"
        );
        assert!(format!("{missing:#}").contains("gone.py"), "{missing:#}");
        assert!(load(from, folder.path(), Purpose::Delete).await.is_ok());
    }
}
