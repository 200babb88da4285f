//! Settings of event drivers.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Invalid;
use crate::invalid::at_most;

/// One setting, given to the driver as `--key=value`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigItem {
    /// Letters, digits, `-`, `_` and `.`; begins with a letter or digit.
    pub key: String,
    /// Text. A number or a boolean is read as its JSON text, so `value: 2` is `"2"`.
    #[serde(default, deserialize_with = "scalar")]
    pub value: String,
}

/// Checks keys, and that none is given twice.
pub(crate) fn check_config(items: &[ConfigItem]) -> Result<(), Invalid> {
    at_most("config", "items", items.len(), 256)?;
    for (at, item) in items.iter().enumerate() {
        let field = || format!("config[{at}].key");
        let begins = item.key.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        if !begins || !item.key.bytes().all(allowed) {
            let problem = "should start with letter or number and may only contain letters, numbers, dashes, \
                           underscores and dots";
            return Err(Invalid::new(field(), problem));
        }
        if items[..at].iter().any(|earlier| earlier.key == item.key) {
            return Err(Invalid::new(field(), format!("{:?} is given twice", item.key)));
        }
        if item.value.contains('\0') {
            let field = format!("config[{at}].value");
            return Err(Invalid::new(field, "must not contain a zero byte"));
        }
    }
    Ok(())
}

fn scalar<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    struct Scalar;
    impl Visitor<'_> for Scalar {
        type Value = String;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string, a number or a boolean")
        }
        fn visit_str<E: Error>(self, v: &str) -> Result<String, E> {
            Ok(v.to_owned())
        }
        fn visit_bool<E: Error>(self, v: bool) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_i64<E: Error>(self, v: i64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_u64<E: Error>(self, v: u64) -> Result<String, E> {
            Ok(v.to_string())
        }
        fn visit_f64<E: Error>(self, v: f64) -> Result<String, E> {
            serde_json::Number::from_f64(v)
                .map(|n| n.to_string())
                .ok_or_else(|| E::custom("is not a finite number"))
        }
        fn visit_unit<E: Error>(self) -> Result<String, E> {
            Ok(String::new())
        }
    }
    from.deserialize_any(Scalar)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_string_is_kept_as_its_text() {
        let table = [
            ("2", "2"),
            ("-7", "-7"),
            ("2.5", "2.5"),
            ("true", "true"),
            ("null", ""),
            (r#""0 2""#, "0 2"),
        ];
        for (json, text) in table {
            let item: ConfigItem = serde_json::from_str(&format!(r#"{{"key":"k","value":{json}}}"#)).unwrap();
            assert_eq!(item.value, text);
        }
        let list = serde_json::from_str::<ConfigItem>(r#"{"key":"k","value":[1]}"#).unwrap_err();
        assert!(
            list.to_string().contains("a string, a number or a boolean"),
            "{list}"
        );
    }

    #[test]
    fn keys_that_would_break_a_command_line_or_are_given_twice_are_refused() {
        let item = |key: &str| ConfigItem {
            key: key.into(),
            value: "v".into(),
        };
        assert_eq!(check_config(&[item("vcenterurl"), item("a.b_c-d")]), Ok(()));
        for bad in ["", "-x", "a=b", "a b"] {
            assert_eq!(
                check_config(&[item("ok"), item(bad)]).unwrap_err().field,
                "config[1].key"
            );
        }
        let twice = check_config(&[item("a"), item("a")]).unwrap_err();
        assert_eq!(twice.to_string(), "config[1].key \"a\" is given twice");
    }
}
