//! The hub's own certificate, made on its first start and kept with its data.

use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::CertificateError;
use super::pair::Files;
use super::{CERTIFICATE, KEY};
use crate::config::ServerConfig;

/// Where it is; made if there is none: for this machine's names and the gateway's.
pub(super) fn own(config: &ServerConfig) -> Result<Files, CertificateError> {
    let folder = config.data.join("gateway");
    let files = Files {
        certificate: folder.join("certificate.pem"),
        key: folder.join("key.pem"),
        settings: [CERTIFICATE, KEY],
    };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let made = rcgen::generate_simple_self_signed(names(config))
        .map_err(|error| files.of_certificate(error.to_string()))?;
    std::fs::create_dir_all(&folder).map_err(|error| files.of_certificate(error.to_string()))?;
    write_private(&files.key, &made.signing_key.serialize_pem())
        .map_err(|error| files.of_key(error.to_string()))?;
    std::fs::write(&files.certificate, made.cert.pem())
        .map_err(|error| files.of_certificate(error.to_string()))?;
    tracing::info!(certificate = %files.certificate.display(), "made a certificate for the gateway");
    Ok(files)
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(file)?.write_all(text.as_bytes())
}

pub(super) fn names(config: &ServerConfig) -> Vec<String> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let public = config
        .gateway_url
        .as_ref()
        .and_then(|url| url.parse::<http::Uri>().ok());
    let public = public.as_ref().and_then(http::Uri::host);
    for name in [config.host.as_str(), machine.trim(), public.unwrap_or_default()] {
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let everywhere = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        if !name.is_empty() && name.is_ascii() && !everywhere && !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    names
}
