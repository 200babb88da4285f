//! The package tools: each as the command that installs a manifest into a folder.

use std::path::Path;

use tokio::process::Command;

use super::Interpreter;
use crate::install::InstallError;

/// `requirements.txt`, by pip.
pub(super) fn pip(python: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
    if let Some((at, line)) = manifest.lines().enumerate().find(|(_, line)| names_a_file(line)) {
        let text = format!(
            "line {} of the manifest is {:?}: a manifest is one text, write here what is in the other file",
            at + 1,
            line.trim()
        );
        return Err(InstallError::Failed(text));
    }
    let file = keep(folder, "requirements.txt", manifest)?;
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

/// Whether a line of `requirements.txt` has pip read another file: one of this machine.
fn names_a_file(line: &str) -> bool {
    let option = line
        .trim_start()
        .split(['=', ' ', '\t'])
        .next()
        .unwrap_or_default();
    let short = option.starts_with("-r") || option.starts_with("-c");
    // pip takes the beginning of an option for the whole.
    let long = option.len() > 4 && (option.starts_with("--requirem") || "--constraint".starts_with(option));
    short || long
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
        ] {
            assert!(names_a_file(line), "{line}");
        }
        for line in [
            "requests",
            "requests-cache==1",
            "--require-hashes",
            "-e git+https://x",
            "--pre",
            "# -r x",
            "",
        ] {
            assert!(!names_a_file(line), "{line}");
        }
    }
}
