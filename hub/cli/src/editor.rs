//! `$EDITOR` on a text. What cannot be used is shown again with what is wrong with it, and is never lost.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::out;

/// Lets a person change a text. `check` says what is wrong with the result: it is then edited again, unless the person
/// leaves it as it is; so the text that is wrong ends up in a file whose name is told.
pub(crate) fn edit(
    name: &str,
    text: &str,
    mut check: impl FnMut(&str) -> Result<(), String>,
) -> anyhow::Result<String> {
    let folder = tempfile::tempdir().context("cannot make a folder for the text")?;
    let file = folder.path().join(name);
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut before = text.to_owned();
    loop {
        open(&file)?;
        let edited = fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let Err(problem) = check(&edited) else {
            return Ok(edited);
        };
        if edited == before {
            return Err(kept(&file, &problem));
        }
        out::note(format_args!("{problem}"));
        before = edited;
    }
}

/// Keeps a text that was refused, and says where.
pub(crate) fn keep(name: &str, text: &str, problem: &str) -> anyhow::Error {
    let kept_at = tempfile::Builder::new()
        .prefix("dispatch-edit-")
        .suffix(name)
        .tempfile();
    let written = kept_at.and_then(|file| {
        fs::write(file.path(), text)?;
        Ok(file.keep().map_err(|error| error.error)?.1)
    });
    match written {
        Ok(path) => anyhow::anyhow!("{problem}\nyour text is kept in {}", path.display()),
        Err(error) => anyhow::anyhow!("{problem}\nyour text could not be kept: {error}"),
    }
}

fn kept(file: &Path, problem: &str) -> anyhow::Error {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    match fs::read_to_string(file) {
        Ok(text) => keep(&format!("-{name}"), &text, problem),
        Err(_) => anyhow::anyhow!("{problem}"),
    }
}

/// `$VISUAL`, `$EDITOR`, or `vi`; they may have arguments.
fn open(file: &Path) -> anyhow::Result<()> {
    let named = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let editor = named("VISUAL")
        .or_else(|| named("EDITOR"))
        .unwrap_or_else(|| "vi".to_owned());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let status = Command::new(program)
        .args(words)
        .arg(file)
        .status()
        .with_context(|| format!("cannot start the editor {program}: set EDITOR to another"))?;
    if !status.success() {
        bail!("the editor {program} ended with {status}: nothing is changed");
    }
    Ok(())
}
