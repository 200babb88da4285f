//! A function's source as it is handed in, made into checked files; and those files written to disk.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use dispatch_contract::SourceFile;
use flate2::read::MultiGzDecoder;

/// The largest source handed in, in bytes.
pub const MAX_ARCHIVE: usize = 10 * 1024 * 1024;
/// The most an archive may unpack to, in bytes.
pub const MAX_UNPACKED: u64 = 50 * 1024 * 1024;
const MAX_FILES: usize = 10_000;
/// Bytes of an entry's name, of one part of it, and what of it a message shows.
const MAX_PATH: usize = 1024;
const MAX_PART: usize = 255;
const MAX_SHOWN: usize = 100;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a source cannot be taken. The author of the function must change it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// More bytes or files than allowed.
    #[error("the source is too large: {0}")]
    TooLarge(String),
    /// An entry of the archive would leave the function's folder.
    #[error("the source has an entry that is not allowed: {path}: {problem}")]
    Forbidden {
        /// The entry.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// No gzip, or no tar in it.
    #[error("the source is no tar.gz archive: {0}")]
    Broken(String),
    /// Nothing in it.
    #[error("the source has no files")]
    Empty,
}

impl SourceError {
    fn forbidden(path: &Path, problem: &'static str) -> Self {
        let path = path.display().to_string();
        Self::Forbidden {
            path: match path.char_indices().nth(MAX_SHOWN) {
                Some((end, _)) => format!("{}…", &path[..end]),
                None => path,
            },
            problem,
        }
    }
}

/// Reads a source: a tar.gz archive, or else one file that gets the name `single`.
pub fn read_source(bytes: &[u8], single: &str) -> Result<Vec<SourceFile>, SourceError> {
    if bytes.len() > MAX_ARCHIVE {
        let text = format!("{} bytes; at most {MAX_ARCHIVE} are allowed", bytes.len());
        return Err(SourceError::TooLarge(text));
    }
    if bytes.is_empty() {
        return Err(SourceError::Empty);
    }
    if !bytes.starts_with(&GZIP) {
        return Ok(vec![SourceFile {
            path: PathBuf::from(single),
            content: Bytes::copy_from_slice(bytes),
        }]);
    }
    unpack(bytes)
}

fn unpack(bytes: &[u8]) -> Result<Vec<SourceFile>, SourceError> {
    let broken = |error: std::io::Error| SourceError::Broken(error.to_string());
    let too_large = || SourceError::TooLarge(format!("it unpacks to more than {MAX_UNPACKED} bytes"));
    let mut archive = tar::Archive::new(MultiGzDecoder::new(bytes).take(MAX_UNPACKED + 1));
    let mut files: BTreeMap<PathBuf, Bytes> = BTreeMap::new();
    let mut left = MAX_UNPACKED;
    for (count, entry) in archive.entries().map_err(broken)?.enumerate() {
        let mut entry = entry.map_err(broken)?;
        if count >= MAX_FILES {
            return Err(SourceError::TooLarge(format!(
                "it has more than {MAX_FILES} entries"
            )));
        }
        let path = entry.path().map_err(broken)?.into_owned();
        let forbidden = |problem| SourceError::forbidden(&path, problem);
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            continue;
        }
        if !kind.is_file() && !kind.is_dir() {
            return Err(forbidden("only files and folders are allowed, no links"));
        }
        let inside = relative(&path).ok_or_else(|| forbidden("it must lie inside the archive's folder"))?;
        if path.as_os_str().len() > MAX_PATH || path.iter().any(|part| part.len() > MAX_PART) {
            return Err(forbidden(
                "its name is longer than 1024 bytes, or a part of it than 255",
            ));
        }
        if path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(forbidden("its name has a NUL"));
        }
        if kind.is_dir() {
            continue;
        }
        if inside.as_os_str().is_empty() {
            return Err(forbidden("a file needs a name"));
        }
        left = left.checked_sub(entry.size()).ok_or_else(too_large)?;
        let mut content = Vec::new();
        entry.read_to_end(&mut content).map_err(broken)?;
        if content.len() as u64 != entry.size() {
            return Err(too_large());
        }
        // As in any tar, the later one counts.
        files.insert(inside, content.into());
    }
    // What follows the last file is read too: only then does the checksum say that all of it is as it was.
    let mut rest = archive.into_inner();
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(broken)?;
    if rest.limit() == 0 {
        return Err(too_large());
    }
    let is_file = |folder: &Path| files.contains_key(folder);
    if let Some(path) = files.keys().find(|path| path.ancestors().skip(1).any(is_file)) {
        return Err(SourceError::forbidden(
            path,
            "what it lies in is a file and a folder",
        ));
    }
    match files.is_empty() {
        true => Err(SourceError::Empty),
        false => Ok(files
            .into_iter()
            .map(|(path, content)| SourceFile { path, content })
            .collect()),
    }
}

/// The path without `.`; `None` when it is absolute or climbs.
fn relative(path: &Path) -> Option<PathBuf> {
    path.components()
        .filter(|part| *part != Component::CurDir)
        .map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect()
}

/// Writes the files below `folder`, which is made.
pub(crate) fn write_files(folder: &Path, files: &[SourceFile]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for file in files {
        let inside = relative(&file.path)
            .filter(|p| !p.as_os_str().is_empty())
            .ok_or_else(|| {
                let text = format!("{} is not inside the function's folder", file.path.display());
                std::io::Error::new(std::io::ErrorKind::InvalidInput, text)
            })?;
        let path = folder.join(inside);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, &file.content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;

    fn archive(build: impl FnOnce(&mut tar::Builder<GzEncoder<Vec<u8>>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        build(&mut builder);
        builder.into_inner().unwrap().finish().unwrap()
    }

    /// Writes the name as it is: the `tar` crate itself would refuse the bad ones.
    fn add(builder: &mut tar::Builder<GzEncoder<Vec<u8>>>, name: &str, kind: tar::EntryType, content: &[u8]) {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        if kind.is_symlink() || kind.is_hard_link() {
            header.set_link_name("/etc/passwd").unwrap();
        }
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }

    #[test]
    fn an_archive_becomes_its_files() {
        let bytes = archive(|b| {
            add(b, "./", tar::EntryType::Directory, b"");
            add(b, "./a.py", tar::EntryType::Regular, b"1");
            add(b, "sub/b.py", tar::EntryType::Regular, b"2");
            add(b, "a.py", tar::EntryType::Regular, b"3");
        });

        let files = read_source(&bytes, "unused").unwrap();

        let seen: Vec<_> = files
            .iter()
            .map(|f| (f.path.to_str().unwrap(), &f.content[..]))
            .collect();
        assert_eq!(seen, [("a.py", &b"3"[..]), ("sub/b.py", b"2")]);
    }

    #[test]
    fn a_plain_file_gets_the_given_name() {
        let files = read_source(b"def handle(ctx, payload): pass", "handler.py").unwrap();
        assert_eq!(files[0].path, Path::new("handler.py"));
    }

    #[test]
    fn nothing_leaves_the_folder() {
        let table = [
            ("/etc/passwd", tar::EntryType::Regular),
            ("../x", tar::EntryType::Regular),
            ("a/../../x", tar::EntryType::Regular),
            ("link", tar::EntryType::Symlink),
            ("hard", tar::EntryType::Link),
            ("fifo", tar::EntryType::Fifo),
        ];
        for (name, kind) in table {
            let bytes = archive(|b| add(b, name, kind, b""));
            let error = read_source(&bytes, "unused").unwrap_err();
            assert!(
                matches!(&error, SourceError::Forbidden { path, .. } if path == name),
                "{name}: {error}"
            );
        }
        let folder = tempfile::tempdir().unwrap();
        let file = SourceFile {
            path: "../x".into(),
            content: Bytes::new(),
        };
        assert!(write_files(&folder.path().join("in"), &[file]).is_err());
    }

    #[test]
    fn a_file_is_no_folder() {
        for names in [["a", "a/b"], ["a/b", "a"], ["a/b", "a/b/c/d"]] {
            let bytes = archive(|b| {
                for name in names {
                    add(b, name, tar::EntryType::Regular, b"1");
                }
            });
            let error = read_source(&bytes, "unused").unwrap_err();
            assert!(
                matches!(&error, SourceError::Forbidden { .. }),
                "{names:?}: {error}"
            );
        }
    }

    #[test]
    fn an_archive_that_was_cut_or_altered_behind_its_last_file_is_refused() {
        let good = archive(|b| add(b, "a.py", tar::EntryType::Regular, b"1"));
        assert!(read_source(&good, "unused").is_ok());
        let sum = good.len() - 8;
        let mut altered = good.clone();
        altered[sum] ^= 1;
        for bad in [&altered, &good[..sum].to_vec(), &[&good[..], b"more"].concat()] {
            let error = read_source(bad, "unused").unwrap_err();
            assert!(matches!(&error, SourceError::Broken(_)), "{error}");
        }
    }

    #[test]
    fn what_is_too_large_broken_or_empty_is_refused() {
        let large = vec![0; MAX_ARCHIVE + 1];
        assert!(matches!(read_source(&large, "x"), Err(SourceError::TooLarge(_))));
        let bomb = archive(|b| {
            for name in ["a", "b"] {
                add(
                    b,
                    name,
                    tar::EntryType::Regular,
                    &vec![0; MAX_UNPACKED as usize / 2 + 1],
                );
            }
        });
        assert!(matches!(read_source(&bomb, "x"), Err(SourceError::TooLarge(_))));
        assert!(matches!(
            read_source(&[0x1f, 0x8b, 1, 2], "x"),
            Err(SourceError::Broken(_))
        ));
        assert_eq!(read_source(b"", "x"), Err(SourceError::Empty));
        assert_eq!(read_source(&archive(|_| {}), "x"), Err(SourceError::Empty));
    }
}
