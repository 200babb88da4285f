//! What a command answers with: a table, JSON or YAML.

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize as _;
use serde_json::Value;

use crate::out;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table, or one line.
    #[default]
    #[value(hide = true)]
    Table,
    /// JSON, four spaces deep, keys in order.
    Json,
    /// YAML.
    Yaml,
    /// A table with more columns, where there are more.
    Wide,
}

impl Format {
    /// Prints the value as JSON or YAML, or what `table` makes of it.
    pub(crate) fn print(self, value: &Value, table: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self {
            Self::Table | Self::Wide => out::text(&table())?,
            Self::Json => out::line(json(value)?)?,
            Self::Yaml => out::text(&yaml(value)?)?,
        }
        Ok(())
    }

    /// Prints one value of a stream: a line of JSON, a YAML document, or what `row` makes of it.
    pub(crate) fn print_next(self, value: &Value, row: impl FnOnce() -> String) -> anyhow::Result<()> {
        match self {
            Self::Table | Self::Wide => out::text(&row())?,
            Self::Json => out::line(value)?,
            Self::Yaml => out::text(&format!("---\n{}", yaml(value)?))?,
        }
        Ok(())
    }
}

/// JSON, four spaces deep.
pub(crate) fn json(value: &Value) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let indent = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, indent);
    sorted(value)
        .serialize(&mut serializer)
        .context("cannot write JSON")?;
    String::from_utf8(bytes).context("cannot write JSON")
}

/// YAML, its keys in order.
pub(crate) fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_norway::to_string(&sorted(value)).context("cannot write YAML")
}

/// The same value with every object's keys in alphabetical order, whatever map `serde_json` was built with.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by_key(|(key, _)| key.as_str());
            Value::Object(keys.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn json_is_four_spaces_deep_with_its_keys_in_order() {
        let value = json!({"b": [1, {"d": null, "c": []}], "a": "x"});

        let text = super::json(&value).unwrap();

        let expected = "{\n    \"a\": \"x\",\n    \"b\": [\n        1,\n        {\n            \"c\": [],\n            \"d\": null\n        }\n    ]\n}";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_empty_list_is_printed_as_an_empty_list() {
        assert_eq!(super::json(&json!([])).unwrap(), "[]");
    }
}
