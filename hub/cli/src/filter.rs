//! Filters as they are written on a command line.
//!
//! `exact:type=vm.powered.on`, `prefix:source=/a`, `suffix:type=.off`, or the JSON of the CloudEvents
//! Subscriptions API for all the rest.

use serde_json::{Value, json};

/// Reads one `--filter`.
pub(crate) fn parse(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"));
    }
    let allowed = "write exact:ATTRIBUTE=VALUE, prefix:ATTRIBUTE=VALUE, suffix:ATTRIBUTE=VALUE or JSON";
    let (dialect, rest) = text.split_once(':').ok_or(allowed)?;
    let (attribute, value) = rest.split_once('=').ok_or(allowed)?;
    if !matches!(dialect, "exact" | "prefix" | "suffix") || attribute.is_empty() {
        return Err(allowed.to_owned());
    }
    Ok(json!({ dialect: { attribute: value } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_read_in_its_short_form_and_as_json() {
        let table = [
            ("exact:type=x", json!({"exact": {"type": "x"}})),
            ("prefix:source=/a:b=c", json!({"prefix": {"source": "/a:b=c"}})),
            ("suffix:subject=", json!({"suffix": {"subject": ""}})),
            (
                r#" {"not": {"exact": {"type": "x"}}}"#,
                json!({"not": {"exact": {"type": "x"}}}),
            ),
        ];

        for (text, expected) in table {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
        for wrong in ["", "type=x", "exact:type", "sql:type=x", "exact:=x"] {
            assert!(parse(wrong).unwrap_err().starts_with("write exact:"), "{wrong}");
        }
        assert!(parse("{").unwrap_err().starts_with("is not JSON"));
    }
}
