//! `dispatch edit`: changes a resource in `$EDITOR`, as YAML.
//!
//! Only what people write is shown; what the hub sets is left out. A text the hub refuses is kept in a file.

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::client::Route;
use crate::commands::Session;
use crate::document::{self, Document, Purpose};
use crate::resource::{KINDS, Kind, SECRET};
use crate::shape::Shape;
use crate::{editor, out, output};

/// Which resource.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Kind of the resource: function, secret, subscription, …
    #[arg(value_parser = kind)]
    kind: &'static Kind,
    /// Its name
    name: String,
}

/// Lets a person change it, and replaces it.
pub(crate) async fn run(args: Args, session: &Session) -> anyhow::Result<()> {
    let (kind, name) = (args.kind, args.name);
    let mut route = Route::to(kind.path).named(&name);
    if kind.path == SECRET.path {
        route = route.with("reveal", "true");
    }
    let found = session.client.get(route).await?;
    let before = output::yaml(&written(kind, &found))?;
    let file = format!("{name}.yaml");
    let text = editor::edit(&file, &before, |text| {
        read(kind, &name, text)
            .map(drop)
            .map_err(|error| format!("{error:#}"))
    })?;
    if text == before {
        out::note("nothing is changed");
        return Ok(());
    }
    let document = read(kind, &name, &text)?;
    let place = Route::to(kind.path).named(&name);
    match session.client.put(place, &Value::Object(document.body)).await {
        Ok(answer) => session
            .format
            .print(&answer, || format!("Updated {}: {name}\n", kind.word)),
        Err(error) => Err(editor::keep(&format!("-{file}"), &text, &error.to_string())),
    }
}

/// What people write of a resource.
fn written(kind: &Kind, found: &Value) -> Value {
    let mut body = Map::new();
    body.insert("kind".to_owned(), json!(kind.word));
    if let Shape::Object(keys) = kind.shape {
        for (key, _) in *keys {
            match found.get(*key) {
                None | Some(Value::Null) => {}
                Some(value) => {
                    body.insert((*key).to_owned(), value.clone());
                }
            }
        }
    }
    body.insert("kind".to_owned(), json!(kind.word));
    body.into()
}

fn read(kind: &Kind, name: &str, text: &str) -> anyhow::Result<Document> {
    let mut documents = document::parse("the text", text, Purpose::Replace)?;
    let document = documents.pop().context("the text holds no resource")?;
    if !documents.is_empty() {
        bail!("the text holds more than one resource");
    }
    if document.kind.path != kind.path || document.name != name {
        let (word, was) = (document.kind.word, kind.word);
        bail!(
            "kind and name stay as they are: {was} {name}, not {word} {}",
            document.name
        );
    }
    Ok(document)
}

/// A kind by its word on the command line or in YAML, also of many.
fn kind(word: &str) -> Result<&'static Kind, String> {
    let plain = word.replace('-', "");
    let found = Kind::by_word(&plain).or_else(|| Kind::by_word(plain.strip_suffix('s')?));
    found.ok_or_else(|| {
        let words: Vec<_> = KINDS.iter().map(|kind| kind.word.to_lowercase()).collect();
        format!("is not known: one of {}", words.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_known_by_all_its_words() {
        for (word, expected) in [
            ("function", "Function"),
            ("base-images", "BaseImage"),
            ("eventdriver", "Driver"),
            ("event-driver-types", "DriverType"),
            ("Subscription", "Subscription"),
        ] {
            assert_eq!(kind(word).map(|kind| kind.word).ok(), Some(expected), "{word}");
        }
        assert!(
            kind("policy")
                .err()
                .is_some_and(|error| error.contains("subscription"))
        );
    }
}
