//! Whole files of resources: created, updated, applied or deleted one after the other.
//!
//! The order is the file's own; the first refusal ends it and names its document. What was done until then
//! stays done and was said.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use crate::client::{ClientError, Route};
use crate::commands::Session;
use crate::document::{self, Document, Purpose};
use crate::out;
use crate::output::Format;

/// The file of a `-f`.
#[derive(Args)]
pub(crate) struct File {
    /// File or URL with resources, several YAML documents
    #[arg(long, short, value_name = "FILE|URL")]
    pub(crate) file: Option<String>,
    /// Folder of what the file refers to (sourcePath, @file)
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(crate) work_dir: PathBuf,
}

impl File {
    /// Refuses a file beside something else to do.
    pub(crate) fn is_alone(&self, alone: bool) -> anyhow::Result<()> {
        if self.file.is_some() && !alone {
            anyhow::bail!("--file stands alone: it already says what");
        }
        Ok(())
    }
}

/// The images to begin with.
#[derive(Args)]
pub(crate) struct SeedImages {
    /// Write the YAML to this file instead
    #[arg(long, short = 'O', value_name = "FILE")]
    pub(crate) output_file: Option<PathBuf>,
}

/// What is done with each resource.
#[derive(Clone, Copy)]
pub(crate) enum Verb {
    /// It must not exist.
    Create,
    /// It must exist.
    Update,
    /// Either.
    Apply,
    /// It must exist, and goes.
    Delete,
}

impl Verb {
    fn purpose(self) -> Purpose {
        match self {
            Self::Create => Purpose::Create,
            Self::Update | Self::Apply => Purpose::Replace,
            Self::Delete => Purpose::Delete,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Create => "Created",
            Self::Update => "Updated",
            Self::Apply => "Applied",
            Self::Delete => "Deleted",
        }
    }
}

/// Does it with every resource of a file, which joins the application.
pub(crate) async fn file(
    verb: Verb,
    file: &File,
    application: Option<&str>,
    session: &Session,
) -> anyhow::Result<()> {
    let from = file.file.as_deref().context("--file is missing")?;
    let mut documents = document::load(from, &file.work_dir, verb.purpose()).await?;
    for document in &mut documents {
        document.join(application);
    }
    each(verb, documents, session).await
}

/// Does it with the seed images, or writes them down.
pub(crate) async fn seed(
    verb: Verb,
    seed: &SeedImages,
    session: anyhow::Result<Session>,
) -> anyhow::Result<()> {
    let text = dispatch_schemas::SEED_IMAGES;
    if let Some(path) = &seed.output_file {
        return std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()));
    }
    let documents = document::parse("seed images", text, verb.purpose())?;
    each(verb, documents, &session?).await
}

async fn each(verb: Verb, documents: Vec<Document>, session: &Session) -> anyhow::Result<()> {
    let mut answers = Vec::new();
    let mut failure = None;
    for document in documents {
        match one(verb, &document, session).await {
            Ok(answer) => {
                if session.format == Format::Table {
                    out::line(format_args!(
                        "{} {}: {}",
                        verb.done(),
                        document.kind.word,
                        document.name
                    ))?;
                }
                answers.push(answer);
            }
            Err(error) => {
                failure = Some(anyhow::Error::from(error).context(document.to_string()));
                break;
            }
        }
    }
    session.format.print(&Value::Array(answers), String::new)?;
    failure.map_or(Ok(()), Err)
}

async fn one(verb: Verb, document: &Document, session: &Session) -> Result<Value, ClientError> {
    let client = &session.client;
    let collection = || Route::to(document.kind.path);
    let place = || collection().named(&document.name);
    let body = Value::Object(document.body.clone());
    match verb {
        Verb::Create => client.post(collection(), &body).await,
        Verb::Update => client.put(place(), &body).await,
        Verb::Apply => match client.put(place(), &body).await {
            Err(error) if error.is_not_found() => client.post(collection(), &body).await,
            answer => answer,
        },
        Verb::Delete => client.delete(place()).await,
    }
}
