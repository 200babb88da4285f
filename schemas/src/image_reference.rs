//! References of container images, `registry.example.org:5000/team/python3:1.0@sha256:…`: what they may look like.
//!
//! The grammar is that of registries (OCI distribution specification 1.1, "Pulling manifests") and of the tools that
//! pull from them: a host only where the first part has a dot, a port or is `localhost`.

use crate::Invalid;
use crate::invalid::required;

const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const MIN_DIGEST: usize = 32;
/// Hexadecimal digits of the digests everybody has.
const KNOWN_DIGESTS: [(&str, usize); 2] = [("sha256", 64), ("sha512", 128)];

/// A field that names a container image.
pub(crate) fn check_image_reference(field: &str, text: &str) -> Result<(), Invalid> {
    required(field, text)?;
    check(text).map_err(|problem| {
        Invalid::new(
            field,
            format!("is {text:?}: {problem}; write it as in registry.example.org:5000/team/python3:1.0"),
        )
    })
}

fn check(text: &str) -> Result<(), String> {
    if text.contains("://") {
        return Err("a container image has no scheme such as https://".to_owned());
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        check_digest(digest)?;
    }
    // A colon before the last slash is a port's.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if let Some(tag) = tag {
        check_tag(tag)?;
    }
    if name.len() > MAX_NAME {
        return Err(format!(
            "its name has {} characters; at most {MAX_NAME} are allowed",
            name.len()
        ));
    }
    let path = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':', '[']) || host == "localhost" => {
            check_host(host)?;
            path
        }
        _ => name,
    };
    path.split('/').try_for_each(check_part)
}

/// Small letters and digits, with one `.`, one or two `_`, or any number of `-` between them.
fn check_part(part: &str) -> Result<(), String> {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separators = part.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let inner =
        part.bytes().next().is_some_and(alphanumeric) && part.bytes().last().is_some_and(alphanumeric);
    let between = |text: &str| matches!(text, "" | "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    match inner && separators.all(between) {
        true => Ok(()),
        false => Err(format!(
            "{part:?} is no part of a name: that is small letters and digits, with ., _ or - between them"
        )),
    }
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    let label = |label: &str| {
        label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !(label.is_empty() || label.starts_with('-') || label.ends_with('-'))
    };
    let v6 = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let known = match v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(label),
    };
    let has_port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    match known && has_port {
        true => Ok(()),
        false => Err(format!(
            "{host:?} is no registry: that is a host, and perhaps a port"
        )),
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let fine = (1..=MAX_TAG).contains(&tag.len())
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    match fine {
        true => Ok(()),
        false => Err(format!(
            "{tag:?} is no tag: that is 1 to {MAX_TAG} letters, digits, _, . and -, and begins with none of the last two"
        )),
    }
}

fn check_digest(digest: &str) -> Result<(), String> {
    let (algorithm, hex) = digest.split_once(':').unwrap_or((digest, ""));
    let part = |part: &str| {
        part.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    let known = KNOWN_DIGESTS.iter().find(|(name, _)| *name == algorithm);
    let length = match known {
        Some((_, length)) => hex.len() == *length,
        None => hex.len() >= MIN_DIGEST,
    };
    let is_hex = hex
        .bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    match length && is_hex && algorithm.split(['-', '_', '+', '.']).all(part) {
        true => Ok(()),
        false => Err(format!(
            "{digest:?} is no digest: that is sha256: and 64 hexadecimal digits in small letters"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_have_is_taken() {
        let digest = format!("x@sha256:{}", "0a".repeat(32));
        for fine in [
            "x",
            "python3:1",
            "any/thing:1",
            "dispatchframework/python3-base:0.0.13",
            "a__b/c.d/e--f",
            "localhost/x",
            "localhost:5000/x:y",
            "registry.example.org/team/x:1.0_rc-1",
            "Registry.example.org:443/x",
            "[::1]:5000/x",
            "10.0.0.1:5000/a/b",
            "x:1@sha256:0000000000000000000000000000000000000000000000000000000000000000",
            &digest,
        ] {
            assert_eq!(check(fine), Ok(()), "{fine}");
        }
    }

    #[test]
    fn what_no_registry_has_is_refused_with_the_part_that_is_wrong() {
        let long = "x".repeat(256);
        let table = [
            ("https://x/y", "has no scheme"),
            ("Python", "\"Python\" is no part of a name"),
            ("any//thing", "\"\" is no part"),
            ("/x", "\"\" is no part"),
            ("x/", "\"\" is no part"),
            ("a___b", "\"a___b\" is no part"),
            ("a..b/c", "\"a..b\" is no registry"),
            ("-a", "\"-a\" is no part"),
            ("a b", "\"a b\" is no part"),
            ("x\n", "is no part"),
            ("../x", "\"..\" is no registry"),
            ("x:", "\"\" is no tag"),
            ("x:-1", "\"-1\" is no tag"),
            ("x:a b", "is no tag"),
            ("host.org:port/x", "\"host.org:port\" is no registry"),
            ("host.org:0/x", "is no registry"),
            ("[::x]:1/y", "is no registry"),
            ("x@sha256:00", "\"sha256:00\" is no digest"),
            ("x@", "\"\" is no digest"),
            (&long, "has 256 characters; at most 255"),
        ];
        for (text, part) in table {
            let said = check(text).expect_err(text);
            assert!(said.contains(part), "{text}: {said}");
        }
        let said = check_image_reference("dockerUrl", "A").unwrap_err().to_string();
        assert!(said.starts_with("dockerUrl is \"A\": "), "{said}");
        assert_eq!(
            check_image_reference("dockerUrl", "").unwrap_err().to_string(),
            "dockerUrl is required"
        );
    }
}
