//! `lambda-python3` and `lambda-provided`: AWS Lambda functions, unchanged. The first runs a handler
//! (`module.function`) under AWS's own `awslambdaric`, which is among the image's packages; the second runs the
//! function's `bootstrap`, which speaks the runtime API itself.

use std::path::Path;

use dispatch_contract::SourceFile;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Interpreter, Plan, Runtime, Site, exec, packages, python, ready};
use crate::install::InstallError;
use crate::wire::Speech;
use crate::worker::StartError;

pub(super) struct OnPython;
pub(super) struct Provided;

const BOOTSTRAP: &str = "bootstrap";
/// What AWS calls its first region; SDKs want one.
const REGION: &str = "us-east-1";

impl Runtime for OnPython {
    fn name(&self) -> &'static str {
        "lambda-python3"
    }

    fn single_file(&self) -> &'static str {
        "lambda_function.py"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        python::find().boxed()
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(on_python(site))
    }

    fn install(&self, found: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::pip(found, manifest, folder)
    }
}

impl Runtime for Provided {
    fn name(&self) -> &'static str {
        "lambda-provided"
    }

    fn single_file(&self) -> &'static str {
        BOOTSTRAP
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        exec::any_program()
    }

    fn check(&self, _: &[SourceFile], _: &str) -> Result<(), String> {
        Ok(())
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(exec::inside(site.source, BOOTSTRAP).and_then(|bootstrap| {
            exec::make_executable(&bootstrap)?;
            Ok(spoken(Plan::framed(&bootstrap, site.handler), site, site.handler))
        }))
    }

    fn install(&self, _: &Interpreter, _: &str, _: &Path) -> Result<Command, InstallError> {
        let text = "images of lambda-provided have no packages: leave the manifest empty and bring them with bootstrap";
        Err(InstallError::Failed(text.to_owned()))
    }
}

fn on_python(site: &Site<'_>) -> Result<Plan, StartError> {
    if !site
        .dependencies
        .is_some_and(|folder| folder.join("awslambdaric").exists())
    {
        return Err(StartError::Invalid(
            "the image has no awslambdaric: name it in the image's requirements.txt (--runtime-deps)"
                .to_owned(),
        ));
    }
    let handler = match site.handler {
        "" => format!("{}.lambda_handler", only_module(site.source)?),
        handler => handler.to_owned(),
    };
    let plan = Plan::framed(&site.found.path, &handler)
        .argument("-m")
        .argument("awslambdaric")
        .argument(&handler);
    let plan = python::unbuffered(python::with_packages(plan, site));
    Ok(spoken(plan, site, &handler))
}

fn only_module(source: &Path) -> Result<String, StartError> {
    let entry = std::fs::read_dir(source)
        .ok()
        .and_then(|mut all| all.next()?.ok());
    let path = entry
        .map(|entry| entry.path())
        .filter(|p| p.extension().is_some_and(|e| e == "py"));
    let stem = path.as_deref().and_then(Path::file_stem).and_then(|s| s.to_str());
    stem.map(str::to_owned)
        .ok_or_else(|| StartError::invalid("the only file is no .py file"))
}

/// What every Lambda function finds in its environment.
fn spoken(plan: Plan, site: &Site<'_>, handler: &str) -> Plan {
    let plan = plan
        .variable("_HANDLER", handler)
        .variable("LAMBDA_TASK_ROOT", site.source)
        .variable("AWS_LAMBDA_FUNCTION_NAME", site.name)
        .variable("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", site.limits.heap.to_string())
        .variable("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", site.name))
        .variable("AWS_LAMBDA_LOG_STREAM_NAME", "$LATEST")
        .variable("AWS_REGION", REGION)
        .variable("AWS_DEFAULT_REGION", REGION)
        .variable("TZ", ":UTC");
    Plan {
        speech: Speech::Lambda,
        ..plan
    }
}
