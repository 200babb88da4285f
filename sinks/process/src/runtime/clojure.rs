//! `clojure`: `namespace/function` on the JVM's worker, with keywords as keys.

use std::path::{Path, PathBuf};

use dispatch_contract::SourceFile;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::program::ask;
use super::{Interpreter, Plan, Runtime, Site, jvm, one_file_or_handler, packages, put};
use crate::install::InstallError;
use crate::worker::StartError;

pub(super) struct Clojure;

const PROBE: &str = r#"(println (clojure-version)) (println (System/getProperty "java.class.path"))"#;

impl Runtime for Clojure {
    fn name(&self) -> &'static str {
        "clojure"
    }

    fn single_file(&self) -> &'static str {
        "handler.clj"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        find().boxed()
    }

    fn check(&self, source: &[SourceFile], handler: &str) -> Result<(), String> {
        one_file_or_handler(source, handler)
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        async {
            let glue = put(site, "worker.clj", include_str!("../programs/worker.clj"))?;
            let (java, clojure) = site.found.parts.split_first().unwrap_or((&site.found.path, &[]));
            let java = Interpreter {
                path: site.found.path.clone(),
                version: site.found.version.clone(),
                parts: vec![java.clone()],
            };
            let mut path = clojure.to_vec();
            path.push(site.source.join("src"));
            jvm::plan(site, &java, path, Some(glue)).await
        }
        .boxed()
    }

    fn install(&self, found: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::deps_edn(found, manifest, folder)
    }
}

/// The JDK, and the archives of the `clojure` on the path.
async fn find() -> Result<Interpreter, String> {
    let said = ask("clojure", &["-e", PROBE]).await?;
    let java = jvm::find().await?;
    let mut lines = said.lines().map(str::trim);
    let version = lines.next().unwrap_or_default().to_owned();
    let path = lines.next().unwrap_or_default();
    let archives: Vec<PathBuf> = std::env::split_paths(path)
        .filter(|entry| entry.is_absolute() && entry.extension().is_some_and(|e| e == "jar"))
        .collect();
    if archives.is_empty() {
        return Err("`clojure` does not say where its archives are".to_owned());
    }
    Ok(Interpreter {
        path: java.path,
        version: format!("Clojure {version} on {}", java.version),
        parts: java.parts.into_iter().chain(archives).collect(),
    })
}
