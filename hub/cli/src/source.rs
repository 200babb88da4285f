//! A function's files on the way to the hub: a gzip'd tar in base64.
//!
//! The archive depends on the files alone (names, bytes, whether executable), not on when or by whom they
//! were written: the same function is the same bytes.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

const MAX_BYTES: u64 = 64 * 1024 * 1024;
const MAX_FILES: usize = 20_000;

/// Packs a file, or what a folder holds.
pub(crate) fn pack(path: &Path) -> anyhow::Result<String> {
    let at = || format!("cannot read {}", path.display());
    let mut files = Vec::new();
    if fs::metadata(path).with_context(at)?.is_dir() {
        collect(path, Path::new(""), &mut files).with_context(at)?;
        if files.is_empty() {
            bail!("{} holds no files", path.display());
        }
    } else {
        let name = path.file_name().with_context(at)?;
        files.push((PathBuf::from(name), path.to_owned()));
    }
    let gzip = GzEncoder::new(Vec::new(), Compression::default());
    let gzip = archive(gzip, &files)?;
    let bytes = gzip.finish().context("cannot compress the source")?;
    Ok(BASE64_STANDARD.encode(bytes))
}

/// Files below `folder`, by name: where they go and where they are.
fn collect(folder: &Path, inside: &Path, files: &mut Vec<(PathBuf, PathBuf)>) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = inside.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&path, &name, files)?;
        } else if kind.is_file() || fs::metadata(&path)?.is_file() {
            files.push((name, path));
        } else {
            bail!("{} is neither a file nor a folder", path.display());
        }
        if files.len() > MAX_FILES {
            bail!("more than {MAX_FILES} files");
        }
    }
    Ok(())
}

fn archive<W: Write>(to: W, files: &[(PathBuf, PathBuf)]) -> anyhow::Result<W> {
    let mut archive = tar::Builder::new(to);
    let mut total = 0;
    for (name, path) in files {
        let at = || format!("cannot read {}", path.display());
        let content = fs::read(path).with_context(at)?;
        total += content.len() as u64;
        if total > MAX_BYTES {
            bail!("the source is larger than {} MiB", MAX_BYTES >> 20);
        }
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode(path).with_context(at)?);
        header.set_entry_type(tar::EntryType::Regular);
        archive
            .append_data(&mut header, name, content.as_slice())
            .with_context(|| format!("cannot pack {}", path.display()))?;
    }
    archive.into_inner().context("cannot pack the source")
}

#[cfg(unix)]
fn mode(path: &Path) -> std::io::Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    let executable = fs::metadata(path)?.permissions().mode() & 0o100 != 0;
    Ok(if executable { 0o755 } else { 0o644 })
}

#[cfg(not(unix))]
fn mode(_: &Path) -> std::io::Result<u32> {
    Ok(0o644)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn unpack(source: &str) -> Vec<(String, String)> {
        let bytes = BASE64_STANDARD.decode(source).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            (name, text)
        });
        entries.collect()
    }

    #[test]
    fn a_file_is_packed_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hello.py");
        fs::write(&path, "def handle(ctx, payload): pass").unwrap();

        let packed = unpack(&pack(&path).unwrap());

        assert_eq!(
            packed,
            [("hello.py".to_owned(), "def handle(ctx, payload): pass".to_owned())]
        );
    }

    #[test]
    fn a_folder_is_packed_without_its_own_name_and_always_alike() {
        let make = || {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir_all(folder.path().join("lib/deep")).unwrap();
            fs::write(folder.path().join("main.js"), "1").unwrap();
            fs::write(folder.path().join("lib/deep/a.js"), "2").unwrap();
            pack(folder.path()).unwrap()
        };

        let (one, two) = (make(), make());

        assert_eq!(one, two);
        let names: Vec<_> = unpack(&one).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["lib/deep/a.js", "main.js"]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let error = pack(Path::new("/nowhere/hello.py")).unwrap_err();

        assert!(error.to_string().contains("/nowhere/hello.py"), "{error}");
        let empty = tempfile::tempdir().unwrap();
        assert!(
            pack(empty.path())
                .unwrap_err()
                .to_string()
                .contains("holds no files")
        );
    }
}
