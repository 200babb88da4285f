//! A key in a header: its consumer is the name of the secret's entry.

use http::header::{HeaderMap, HeaderName};

use super::secret::Entries;
use super::{Consumer, Refused};

pub(super) fn admit(
    entries: &Entries,
    headers: &HeaderMap,
    header: &HeaderName,
) -> Result<Consumer, Refused> {
    let refused = |message: String| Refused::Who {
        message,
        challenge: "ApiKey",
    };
    let mut said = headers.get_all(header).iter();
    let (Some(key), None) = (said.next(), said.next()) else {
        return Err(refused(format!(
            "an API key is required: send it once, as {header}"
        )));
    };
    match entries.named(key.as_bytes()) {
        Some(consumer) => Ok(Consumer::named(consumer)),
        None => Err(refused("the API key is not known".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret::entries;
    use super::*;

    #[test]
    fn a_key_is_its_consumer_and_nothing_else_is() {
        let known = entries(&[("shop", "k1"), ("bot", "k2"), ("none", "")]);
        let header = HeaderName::from_static("x-api-key");
        let asked = |keys: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for key in keys {
                headers.append(&header, key.parse().unwrap());
            }
            admit(&known, &headers, &header).map(|consumer| consumer.name.unwrap())
        };

        assert_eq!(asked(&["k2"]).as_deref(), Ok("bot"));
        for wrong in [&[][..], &["k"], &["k22"], &["shop"], &[""], &["k1", "k2"]] {
            assert!(asked(wrong).is_err(), "{wrong:?}");
        }
    }
}
