//! `exec`: any program among the function's files. `PROGRAM` is started for each call, with the function message on
//! standard input and its answer on standard output; `PROGRAM::http` is started once, told a `PORT`, and gets each
//! function message as the body of a POST.

use std::path::{Component, Path, PathBuf};

use dispatch_contract::SourceFile;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Interpreter, Plan, Runtime, Site, ready};
use crate::install::InstallError;
use crate::wire::Speech;
use crate::worker::StartError;

pub(super) struct Exec;

const HTTP: &str = "::http";
/// How programs begin: a script, and what Linux and macOS run.
const BEGINNINGS: [&[u8]; 4] = [b"#!", b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe"];

impl Runtime for Exec {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn single_file(&self) -> &'static str {
        "handler"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        any_program()
    }

    fn check(&self, source: &[SourceFile], handler: &str) -> Result<(), String> {
        let (program, _) = parts(handler);
        super::one_file_or_handler(source, program)
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(prepare(site))
    }

    fn install(&self, _: &Interpreter, _: &str, _: &Path) -> Result<Command, InstallError> {
        let text = "images of exec have no packages: leave the manifest empty and put what the program needs beside it";
        Err(InstallError::Failed(text.to_owned()))
    }
}

/// The program comes with the function.
pub(super) fn any_program<'a>() -> BoxFuture<'a, Result<Interpreter, String>> {
    let found = Interpreter {
        path: PathBuf::new(),
        version: "any program".to_owned(),
        parts: Vec::new(),
    };
    std::future::ready(Ok(found)).boxed()
}

fn parts(handler: &str) -> (&str, bool) {
    match handler.strip_suffix(HTTP) {
        Some(program) => (program, true),
        None => (handler, false),
    }
}

fn prepare(site: &Site<'_>) -> Result<Plan, StartError> {
    let (name, http) = parts(site.handler);
    let program = match name {
        "" => only_file(site.source)?,
        name => inside(site.source, name)?,
    };
    make_executable(&program)?;
    let speech = match http {
        true => Speech::HttpMessage,
        false => Speech::Once,
    };
    Ok(Plan {
        speech,
        ..Plan::framed(&program, site.handler)
    })
}

/// The file of a function that has no other.
pub(super) fn only_file(source: &Path) -> Result<PathBuf, StartError> {
    let file = std::fs::read_dir(source)
        .ok()
        .and_then(|mut all| all.next()?.ok());
    let file = file.ok_or_else(|| StartError::invalid("there is no file"))?;
    Ok(file.path())
}

/// A file below the function's folder, and nothing else.
pub(super) fn inside(source: &Path, name: &str) -> Result<PathBuf, StartError> {
    let relative = Path::new(name);
    let stays = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let path = source.join(relative);
    match (stays, path.is_file()) {
        (false, _) => Err(StartError::invalid(format!(
            "{name} is not inside the function's folder"
        ))),
        (_, false) => Err(StartError::invalid(format!("there is no file {name}"))),
        _ => Ok(path),
    }
}

/// Archives bring no modes along.
pub(super) fn make_executable(program: &Path) -> Result<(), StartError> {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;
    let io = |e: std::io::Error| StartError::Unavailable(format!("{}: {e}", program.display()));
    let mut head = Vec::new();
    std::fs::File::open(program)
        .and_then(|file| file.take(4).read_to_end(&mut head))
        .map_err(io)?;
    if !BEGINNINGS.iter().any(|beginning| head.starts_with(beginning)) {
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        return Err(StartError::invalid(format!(
            "{name} is neither an executable nor a script that begins with #!"
        )));
    }
    std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).map_err(io)
}
