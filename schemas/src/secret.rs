//! Secrets: values that functions and drivers need and nobody should see.

use std::collections::BTreeMap;
use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::Tag;
use crate::absent::null_is_default;
use crate::invalid::{Invalid, at_most};
use crate::resource::resource;

/// A named set of values. Functions get them in `context.secrets`, drivers as environment variables.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Secret {
    /// Unique per organization.
    pub name: String,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `Secret`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// At most 256 values, 1 MiB together. Read back as `null` each, unless they are asked for.
    #[serde(default, deserialize_with = "null_is_default")]
    #[schema(value_type = BTreeMap<String, Option<String>>)]
    pub secrets: BTreeMap<String, SecretText>,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

/// A value that does not print itself. It is written in full by serde: to the store, and to whoever may read secrets.
#[derive(Clone)]
pub struct SecretText(SecretString);

impl SecretText {
    /// Takes a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(SecretString::from(value.into()))
    }
    /// Shows the value to the code that needs it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
    /// The value as `secrecy` keeps it.
    pub fn to_secret_string(&self) -> SecretString {
        self.0.clone()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.expose())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        /// serde's own error would quote a number that stands where a string should.
        struct Text;
        impl serde::de::Visitor<'_> for Text {
            type Value = SecretText;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<SecretText, E> {
                Ok(SecretText::new(v))
            }
            fn visit_string<E: serde::de::Error>(self, v: String) -> Result<SecretText, E> {
                Ok(SecretText::new(v))
            }
            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<SecretText, E> {
                Err(not_text())
            }
            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<SecretText, E> {
                Err(not_text())
            }
            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<SecretText, E> {
                Err(not_text())
            }
            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<SecretText, E> {
                Err(not_text())
            }
        }
        from.deserialize_any(Text)
    }
}

fn not_text<E: serde::de::Error>() -> E {
    E::custom("a secret's value must be a string: put quotes around it")
}

resource!(Secret, "Secret", "secret", sealed: true, check: |secret| {
    at_most("secrets", "values", secret.secrets.len(), 256)?;
    let size = secret.secrets.iter().map(|(k, v)| k.len() + v.expose().len()).sum();
    at_most("secrets", "bytes", size, 1024 * 1024)?;
    for key in secret.secrets.keys() {
        if key.is_empty() || key.len() > 256 || key.contains(['=', '\0']) {
            let problem = "has a key that is empty, longer than 256 or holds '=' or a zero byte: it could be no \
                           environment variable";
            return Err(Invalid::new("secrets", problem));
        }
    }
    Ok(())
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_its_values() {
        let secret: Secret =
            serde_json::from_str(r#"{"name":"s","secrets":{"password":"OpenSesame"}}"#).unwrap();
        assert!(!format!("{secret:?} {secret:#?}").contains("Sesame"));
        assert!(format!("{secret:?}").contains("password"));
        assert_eq!(secret.secrets["password"].expose(), "OpenSesame");
        assert!(serde_json::to_string(&secret).unwrap().contains("OpenSesame"));
    }

    #[test]
    fn a_value_that_is_no_string_is_refused_without_being_quoted() {
        for value in ["4711", "-4711", "true", "47.11", "[4711]"] {
            let json = format!(r#"{{"name":"s","secrets":{{"pin":{value}}}}}"#);
            let error = serde_json::from_str::<Secret>(&json).unwrap_err().to_string();
            assert!(error.contains("a string") && !error.contains("47"), "{error}");
        }
    }
}
