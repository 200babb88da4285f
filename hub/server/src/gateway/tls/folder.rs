//! A folder of certificates, as those leave it who renew them: `NAME.pem` or `NAME.crt` with `NAME.key` beside it, and
//! folders with `fullchain.pem` and `privkey.pem` (certbot) or `tls.crt` and `tls.key` (Kubernetes).

use std::path::{Path, PathBuf};

use super::CertificateError;
use super::pair::Files;

/// The setting that names it.
pub(super) const FOLDER: &str = "gateway-tls-folder";
/// More is a mistake: each is looked at every few seconds, and when a connection begins.
const MOST: usize = 1000;
const IN_A_FOLDER: [[&str; 2]; 2] = [["fullchain.pem", "privkey.pem"], ["tls.crt", "tls.key"]];

/// All pairs in it, by name. What begins with a dot is somebody else's.
pub(super) fn pairs(folder: &Path) -> Result<Vec<Files>, CertificateError> {
    let unusable = |reason: String| CertificateError::File {
        setting: FOLDER,
        file: folder.to_owned(),
        reason,
    };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| unusable(error.to_string()))? {
        let entry = entry.map_err(|error| unusable(error.to_string()))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    let found: Vec<Files> = paths.iter().filter_map(|path| pair(path)).collect();
    match found.len() > MOST {
        true => Err(unusable(format!(
            "it has {} certificates; at most {MOST} are taken",
            found.len()
        ))),
        false => Ok(found),
    }
}

fn pair(path: &Path) -> Option<Files> {
    let files = |certificate: PathBuf, key: PathBuf| Files {
        certificate,
        key,
        settings: [FOLDER, FOLDER],
    };
    if path.is_dir() {
        let there = |[certificate, key]: [&str; 2]| files(path.join(certificate), path.join(key));
        return IN_A_FOLDER
            .into_iter()
            .map(there)
            .find(|files| files.certificate.exists());
    }
    match path.extension()?.to_str()? {
        "pem" | "crt" => Some(files(path.to_owned(), path.with_extension("key"))),
        _ => None,
    }
}
