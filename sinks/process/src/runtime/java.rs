//! `java`: a class that is a `BiFunction` of context and payload, compiled when it is deployed.

use std::path::{Path, PathBuf};

use dispatch_contract::SourceFile;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Interpreter, Plan, Runtime, Site, jvm, one_file_or_handler, packages};
use crate::install::InstallError;
use crate::tool::ToolError;
use crate::worker::StartError;

pub(super) struct Java;

impl Runtime for Java {
    fn name(&self) -> &'static str {
        "java"
    }

    fn single_file(&self) -> &'static str {
        "Handler.java"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        jvm::find().boxed()
    }

    fn check(&self, source: &[SourceFile], handler: &str) -> Result<(), String> {
        one_file_or_handler(source, handler)?;
        match handler.chars().all(|c| c.is_alphanumeric() || "._$".contains(c)) {
            true => Ok(()),
            false => Err(format!(
                "Invalid function file or handler: {handler:?} is no name of a class, like io.example.Hello"
            )),
        }
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        prepare(site).boxed()
    }

    fn install(&self, _: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::maven(manifest, folder)
    }
}

async fn prepare(site: &Site<'_>) -> Result<Plan, StartError> {
    let classes = site.folder.join("classes");
    std::fs::create_dir_all(&classes)
        .map_err(|e| StartError::Unavailable(format!("cannot make a folder for classes: {e}")))?;
    let sources = files_below(site.source, "java");
    if !sources.is_empty() {
        let compiled = jvm::compile(site, site.found, sources, jvm::class_path(site), &classes).await;
        compiled.map_err(|error| match error {
            // The paths in it are this machine's.
            ToolError::Failed(text) => {
                let text = text.replace(&format!("{}/", site.source.display()), "");
                StartError::invalid(text.replace(
                    &format!("`{}` failed", site.found.parts[0].display()),
                    "javac failed",
                ))
            }
            ToolError::Unavailable(text) => StartError::Unavailable(text),
        })?;
    }
    let plan = jvm::plan(site, site.found, vec![classes.clone()], None).await?;
    match site.handler {
        "" => Ok(Plan {
            handler: only_class(site.source, &classes)?,
            ..plan
        }),
        _ => Ok(plan),
    }
}

/// The class that has the name of the only file.
fn only_class(source: &Path, classes: &Path) -> Result<String, StartError> {
    let file = files_below(source, "java");
    let stem = file.first().and_then(|f| f.file_stem());
    let class = files_below(classes, "class")
        .into_iter()
        .find(|class| stem.is_some() && class.file_stem() == stem);
    let name = class
        .as_deref()
        .and_then(|class| class.strip_prefix(classes).ok());
    let name = name.and_then(|name| name.with_extension("").to_str().map(|n| n.replace('/', ".")));
    name.ok_or_else(|| StartError::invalid("the only file has no class with the name of the file"))
}

/// Files with an extension below a folder.
fn files_below(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&path, extension)),
            Ok(_) if path.extension().is_some_and(|e| e == extension) => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}
