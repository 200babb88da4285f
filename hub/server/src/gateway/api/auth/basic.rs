//! User and password (RFC 7617): the secret's entries are users and their passwords.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_contract::SecretString;
use http::header::{AUTHORIZATION, HeaderMap};

use super::secret::Entries;
use super::{Consumer, Refused};

pub(super) fn admit(entries: &Entries, headers: &HeaderMap) -> Result<Consumer, Refused> {
    let refused = |message: &str| Refused::Who {
        message: message.to_owned(),
        challenge: "Basic realm=\"dispatch\", charset=\"UTF-8\"",
    };
    let (user, password) =
        said(headers).ok_or_else(|| refused("user and password are required, as Authorization: Basic"))?;
    // For a user nobody knows as much is done as for others.
    let nobody = SecretString::from("");
    let known = entries.values.get(&user);
    let right = entries.is(known.unwrap_or(&nobody), password.as_bytes());
    match right && known.is_some() && !password.is_empty() {
        true => Ok(Consumer::named(user)),
        false => Err(refused("user or password is wrong")),
    }
}

fn said(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::secret::entries;
    use super::*;

    #[test]
    fn a_user_comes_in_with_their_own_password_only() {
        let known = entries(&[("ann", "a:b"), ("bob", "c"), ("eve", "")]);
        let asked = |header: String| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, header.parse().unwrap());
            admit(&known, &headers).map(|consumer| consumer.name.unwrap())
        };
        let basic = |text: &str| asked(format!("Basic {}", STANDARD.encode(text)));

        assert_eq!(basic("ann:a:b").as_deref(), Ok("ann"));
        assert_eq!(
            asked(format!("basic {}", STANDARD.encode("bob:c"))).as_deref(),
            Ok("bob")
        );
        for wrong in ["ann:c", "ann:a:b ", "bob:", "eve:", "carl:", "ann", ":"] {
            assert!(basic(wrong).is_err(), "{wrong}");
        }
        for wrong in ["Basic ???", "Bearer YW5uOmE6Yg==", "Basic"] {
            assert!(asked(wrong.to_owned()).is_err(), "{wrong}");
        }
        assert!(admit(&known, &HeaderMap::new()).is_err());
    }
}
