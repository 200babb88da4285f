//! What goes into a function and what comes out of it, checked against its JSON Schemas.
//!
//! Drafts 4, 6, 7, 2019-09 and 2020-12, as `$schema` says; 2020-12 when it says nothing. Nothing is fetched: a reference
//! to another document makes a schema a bad one, and bad ones are refused when a function is created. An input that does
//! not fit is the caller's fault (`InputError`), an output the function's (`FunctionError`). Messages have paths and
//! rules, never the values: they end in reasons of dead letters.

use std::fmt;

use dispatch_contract::{FunctionError, FunctionErrorKind, InvocationError};
use dispatch_schemas::Function;
use jsonschema::Validator;
use serde_json::Value;

/// Bytes of one schema.
const MAX_BYTES: usize = 256 * 1024;
/// Problems named in one message.
const MAX_PROBLEMS: usize = 10;
const MAX_PROBLEM: usize = 300;

/// The schemas of a function.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    input: Option<Compiled>,
    output: Option<Compiled>,
}

/// A schema, or why it is none: then nothing fits it.
type Compiled = Result<Box<Validator>, BadSchema>;

/// What is wrong with a schema, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub(super) struct BadSchema {
    field: &'static str,
    problem: String,
}

impl Schemas {
    /// Those of a function that is stored.
    pub(super) fn of(function: &Function) -> Self {
        let schema = function.schema.as_ref();
        Self {
            input: compiled("schema.in", schema.and_then(|schema| schema.input.as_ref())),
            output: compiled("schema.out", schema.and_then(|schema| schema.output.as_ref())),
        }
    }

    /// Whether all of them are schemas.
    pub(super) fn check(self) -> Result<(), BadSchema> {
        for schema in [self.input, self.output].into_iter().flatten() {
            schema?;
        }
        Ok(())
    }

    /// Whether a payload may go in.
    pub(super) fn input(&self, payload: &[u8]) -> Result<(), InvocationError> {
        fits(self.input.as_ref(), payload, FunctionErrorKind::Input, "Input")
    }

    /// Whether a payload may come out.
    pub(super) fn output(&self, payload: &[u8]) -> Result<(), InvocationError> {
        fits(
            self.output.as_ref(),
            payload,
            FunctionErrorKind::Function,
            "Output",
        )
    }
}

fn compiled(field: &'static str, schema: Option<&Value>) -> Option<Compiled> {
    let empty = |schema: &&Value| match schema {
        Value::Null | Value::Bool(true) => true,
        Value::Object(members) => members.is_empty(),
        _ => false,
    };
    let schema = schema.filter(|schema| !empty(schema))?;
    Some(
        compile(schema)
            .map(Box::new)
            .map_err(|problem| BadSchema { field, problem }),
    )
}

fn compile(schema: &Value) -> Result<Validator, String> {
    let size = schema.to_string().len();
    if size > MAX_BYTES {
        return Err(format!("has {size} bytes; at most {MAX_BYTES} are allowed"));
    }
    let dialect = match schema.get("$schema") {
        Some(_) => "",
        None => " (read as draft 2020-12: $schema names another)",
    };
    let options = jsonschema::options().offline();
    options.build(schema).map_err(|error| {
        let at = match error.instance_path().as_str() {
            "" => String::new(),
            path => format!(" at {path}"),
        };
        format!("is not a JSON Schema{at}{dialect}: {}", short(&error))
    })
}

fn fits(
    schema: Option<&Compiled>,
    payload: &[u8],
    fault: FunctionErrorKind,
    what: &str,
) -> Result<(), InvocationError> {
    let failed = |kind, message| {
        Err(InvocationError::Function(FunctionError {
            kind,
            message,
            stacktrace: Vec::new(),
        }))
    };
    let validator = match schema {
        None => return Ok(()),
        Some(Ok(validator)) => validator,
        Some(Err(bad)) => return failed(FunctionErrorKind::System, bad.to_string()),
    };
    // What is no JSON is told by those who read it next.
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else {
        return Ok(());
    };
    let mut problems = Vec::new();
    let mut more = 0;
    for error in validator.iter_errors(&payload) {
        match problems.len() < MAX_PROBLEMS {
            true => problems.push(problem(&error)),
            false => more += 1,
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    let list = problems.join("; ");
    failed(
        fault,
        format!("{what} invalid against schema: validation failure list: {list}"),
    )
}

/// Where, and which rule is broken; not by what.
fn problem(error: &jsonschema::ValidationError<'_>) -> String {
    match error.instance_path().as_str() {
        "" => short(&error.masked()),
        path => format!("{path}: {}", short(&error.masked())),
    }
}

fn short(text: &impl fmt::Display) -> String {
    let text = text.to_string();
    match text.char_indices().nth(MAX_PROBLEM) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schemas(input: Value) -> Schemas {
        let function = json!({"name": "f", "image": "i", "schema": {"in": input, "out": {"type": "string"}}});
        Schemas::of(&serde_json::from_value(function).unwrap())
    }

    fn message(result: Result<(), InvocationError>) -> (FunctionErrorKind, String) {
        match result {
            Err(InvocationError::Function(error)) => (error.kind, error.message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_input_that_does_not_fit_is_the_caller_s_fault_and_an_output_the_function_s() {
        let person = schemas(
            json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}),
        );
        person.input(br#"{"name": "Jon"}"#).unwrap();
        person.output(br#""fine""#).unwrap();

        let (kind, missing) = message(person.input(b"{}"));
        let (_, wrong) = message(person.input(br#"{"name": 471147}"#));
        let (of_output, output) = message(person.output(b"1"));

        assert_eq!(
            (kind, of_output),
            (FunctionErrorKind::Input, FunctionErrorKind::Function)
        );
        let start = "Input invalid against schema: validation failure list: ";
        assert_eq!(missing, format!("{start}\"name\" is a required property"));
        assert_eq!(wrong, format!("{start}/name: value is not of type \"string\""));
        assert!(output.starts_with("Output invalid against schema: "), "{output}");
    }

    #[test]
    fn each_draft_has_its_own_rules() {
        let draft = |uri: &str| format!("{uri}#");
        let four = draft("http://json-schema.org/draft-04/schema");
        let table = [
            (
                json!({"$schema": four, "minimum": 3, "exclusiveMinimum": true}),
                "4",
                "3",
            ),
            (
                json!({"$schema": draft("http://json-schema.org/draft-06/schema"), "const": 1}),
                "1",
                "2",
            ),
            (
                json!({"$schema": draft("http://json-schema.org/draft-07/schema"), "if": {"type": "string"}, "then": {"minLength": 2}}),
                "\"ab\"",
                "\"a\"",
            ),
            (
                json!({"$schema": "https://json-schema.org/draft/2019-09/schema", "$defs": {"n": {"type": "number"}}, "$ref": "#/$defs/n"}),
                "1",
                "\"a\"",
            ),
            (
                json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "prefixItems": [{"type": "number"}]}),
                "[1]",
                "[\"a\"]",
            ),
            (json!({"prefixItems": [{"type": "number"}]}), "[1]", "[\"a\"]"),
            (json!(false), "", "1"),
        ];
        for (schema, fine, not) in table {
            let schemas = schemas(schema.clone());
            assert!(schemas.input(fine.as_bytes()).is_ok(), "{schema} {fine}");
            assert!(schemas.input(not.as_bytes()).is_err(), "{schema} {not}");
        }
    }

    #[test]
    fn a_bad_schema_is_refused_with_its_field_and_its_place() {
        let table = [
            (
                json!({"properties": {"name": {"type": "strin"}}}),
                "/properties/name/type",
            ),
            (
                json!({"minimum": 1, "exclusiveMinimum": true}),
                "$schema names another",
            ),
            (json!({"$ref": "https://example.com/schema.json"}), "schema.in"),
            (json!({"$ref": "file:///etc/passwd"}), "schema.in"),
            (json!({"$ref": "#/$defs/none"}), "schema.in"),
            (json!({"$schema": "http://example.com/my-schema"}), "schema.in"),
            (json!({"pattern": "("}), "schema.in"),
            (json!("string"), "schema.in"),
            (json!({"description": "x".repeat(MAX_BYTES)}), "at most 262144"),
        ];
        for (schema, part) in table {
            let bad = schemas(schema.clone()).check().unwrap_err().to_string();
            assert!(
                bad.starts_with("schema.in: ") && bad.contains(part),
                "{part} in {bad}"
            );
        }
        for fine in [json!(null), json!({}), json!(true), json!({"type": "object"})] {
            assert_eq!(schemas(fine).check(), Ok(()));
        }
    }

    #[test]
    fn a_long_list_of_problems_is_cut() {
        let numbers = schemas(json!({"items": {"type": "number"}}));
        let texts = json!(vec!["x"; 100]).to_string();

        let (_, message) = message(numbers.input(texts.as_bytes()));

        assert!(
            message.ends_with("; and 90 more") && message.len() < 1000,
            "{message}"
        );
    }

    #[test]
    fn a_pattern_that_never_ends_is_given_up() {
        let evil = schemas(json!({"pattern": "^(a|a)*\\1$"}));
        let began = std::time::Instant::now();

        let text = json!(format!("{}b", "a".repeat(40))).to_string();

        assert!(evil.input(text.as_bytes()).is_err());
        assert!(began.elapsed().as_secs() < 10);
    }
}
