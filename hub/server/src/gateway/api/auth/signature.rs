//! A signature of the body (HMAC-SHA256), as web hooks have it: in hex or base64, `sha256=` before it or not.
//!
//! The secret's entries are the shared secrets; any of them will do, so that one can be exchanged for another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::ExposeSecret as _;
use http::header::{HeaderMap, HeaderName};
use ring::hmac;

use super::secret::Entries;
use super::{Consumer, Refused};

const PREFIX: &str = "sha256=";
/// Bytes of a signature.
const LENGTH: usize = 32;

pub(super) fn admit(
    entries: &Entries,
    headers: &HeaderMap,
    header: &HeaderName,
    body: &[u8],
) -> Result<Consumer, Refused> {
    let refused = |message: String| Refused::Who {
        message,
        challenge: "Signature",
    };
    let mut said = headers.get_all(header).iter();
    let (Some(value), None) = (said.next(), said.next()) else {
        return Err(refused(format!(
            "a signature of the body is required: send it once, as {header}"
        )));
    };
    let tag = value.to_str().ok().and_then(tag_of);
    let tag = tag.ok_or_else(|| refused(format!("{header}: is no HMAC-SHA256 in hex or base64")))?;
    let mut found = None;
    for (name, secret) in &entries.values {
        let secret = secret.expose_secret();
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        if hmac::verify(&key, body, &tag).is_ok() && !secret.is_empty() {
            found = Some(name);
        }
    }
    match found {
        Some(name) => Ok(Consumer::named(name)),
        None => Err(refused("the signature does not fit the body".to_owned())),
    }
}

fn tag_of(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let text = text.strip_prefix(PREFIX).unwrap_or(text);
    let bytes = match text.len() == 2 * LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        true => (0..LENGTH)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok())
            .collect::<Option<Vec<u8>>>()?,
        false => STANDARD.decode(text).ok()?,
    };
    (bytes.len() == LENGTH).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::secret::entries;
    use super::*;

    // GitHub's own example (docs.github.com, "Validating webhook deliveries").
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &[u8] = b"Hello, World!";
    const HEX: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    #[test]
    fn what_was_signed_with_any_of_the_secrets_comes_in() {
        let known = entries(&[("new", "other"), ("old", SECRET), ("none", "")]);
        let header = HeaderName::from_static("x-hub-signature-256");
        let asked = |value: &str, body: &[u8]| {
            let mut headers = HeaderMap::new();
            headers.insert(&header, value.parse().unwrap());
            admit(&known, &headers, &header, body).map(|consumer| consumer.name.unwrap())
        };
        let base64 = STANDARD.encode(tag_of(HEX).unwrap());

        for right in [format!("sha256={HEX}"), HEX.to_uppercase(), base64] {
            assert_eq!(asked(&right, BODY).as_deref(), Ok("old"), "{right}");
        }
        assert!(asked(HEX, b"Hello, World").is_err());
        let empty = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b""), BODY);
        assert!(
            asked(&STANDARD.encode(empty), BODY).is_err(),
            "an empty secret signs nothing"
        );
        for wrong in ["", "sha256=", "sha1=00", &HEX[2..], "ÿ"] {
            assert!(asked(wrong, BODY).is_err(), "{wrong}");
        }
    }
}
