//! What goes into a function and what comes out of it, checked against its JSON Schemas.
//!
//! Drafts 4, 6, 7, 2019-09 and 2020-12, as `$schema` says; 2020-12 when it says nothing. Nothing is fetched: a reference
//! to another document makes a schema a bad one, and bad ones are refused when a function is created. An input that does
//! not fit is the caller's fault (`InputError`), an output the function's (`FunctionError`). Messages have paths and
//! rules, never the values: they end in reasons of dead letters.
//!
//! Whoever writes a schema must not be able to stop the hub with it: what checking can cost is bounded by what the
//! schema is (`shape.rs`), by how large the value is and by how much of what is wrong is told. What takes a while is
//! checked on a thread of its own, a few at once.

mod extent;
mod shape;
#[cfg(test)]
mod suite;

use std::fmt;
use std::sync::Arc;

use dispatch_contract::{FunctionError, FunctionErrorKind, InvocationError};
use dispatch_schemas::Function;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use self::extent::Extent;
use self::shape::Shape;

/// How schemas name their draft.
const DRAFTS: [&str; 5] = [
    "http://json-schema.org/draft-04/schema",
    "http://json-schema.org/draft-06/schema",
    "http://json-schema.org/draft-07/schema",
    "https://json-schema.org/draft/2019-09/schema",
    "https://json-schema.org/draft/2020-12/schema",
];
/// Bytes of one schema.
const MAX_BYTES: usize = 256 * 1024;
/// Steps back in one match of a pattern with look-around or back-references; others take none. A text that needs more
/// does not fit.
const MAX_BACKTRACKS: usize = 20_000;
/// Checks of one value, references followed.
const MAX_WEIGHT: u64 = 100_000;
/// Checks of all values of a payload, if each were checked against the whole schema: a few seconds.
const MAX_CHECKS: u64 = 1_000_000_000;
/// The same of the bytes of a payload, up to which the caller's thread can wait for it: some milliseconds.
const AT_ONCE: u64 = 1 << 22;
/// Checks that take longer, at once.
const MAX_LONG: usize = 4;
/// Checks to tell what is wrong with a payload whose values are looked at again and again.
const MAX_AGAIN: u64 = 20_000_000;
/// Bytes of a payload above which only the first problem is looked for.
const MAX_TOLD: usize = 64 * 1024;
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
type Compiled = Result<Arc<Schema>, BadSchema>;

static LONG: Semaphore = Semaphore::const_new(MAX_LONG);

/// A schema that can be checked against.
#[derive(Debug)]
struct Schema {
    validator: Validator,
    shape: Shape,
}

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
    pub(super) async fn input(&self, payload: &[u8]) -> Result<(), InvocationError> {
        checked(self.input.as_ref(), payload, FunctionErrorKind::Input, "Input").await
    }

    /// Whether a payload may come out.
    pub(super) async fn output(&self, payload: &[u8]) -> Result<(), InvocationError> {
        let fault = FunctionErrorKind::Function;
        checked(self.output.as_ref(), payload, fault, "Output").await
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
            .map(Arc::new)
            .map_err(|problem| BadSchema { field, problem }),
    )
}

fn compile(schema: &Value) -> Result<Schema, String> {
    let size = schema.to_string().len();
    if size > MAX_BYTES {
        return Err(format!("has {size} bytes; at most {MAX_BYTES} are allowed"));
    }
    let shape = Shape::of(schema);
    if shape.weight > MAX_WEIGHT {
        return Err(format!(
            "makes more than {MAX_WEIGHT} checks of one value: its definitions name each other too often"
        ));
    }
    let dialect = match schema.get("$schema") {
        Some(Value::String(uri)) if !DRAFTS.contains(&uri.trim_end_matches('#')) => {
            " ($schema names none of the drafts 4, 6, 7, 2019-09, 2020-12, as http://json-schema.org/draft-07/schema# does)"
        }
        Some(_) => "",
        None => " (read as draft 2020-12: $schema names another)",
    };
    let patterns = PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS);
    let options = jsonschema::options().offline().with_pattern_options(patterns);
    let built = options.build(schema).map_err(|error| {
        let at = match error.instance_path().as_str() {
            "" => String::new(),
            path => format!(" at {path}"),
        };
        format!("is not a JSON Schema{at}{dialect}: {}", short(&error))
    });
    built.map(|validator| Schema { validator, shape })
}

/// As [`fits`], off the caller's thread where it may take a while.
async fn checked(
    schema: Option<&Compiled>,
    payload: &[u8],
    fault: FunctionErrorKind,
    what: &'static str,
) -> Result<(), InvocationError> {
    let is_short = match schema {
        Some(Ok(schema)) => {
            let (shape, bytes) = (schema.shape, payload.len() as u64);
            !shape.branches() && shape.weight.saturating_mul(bytes) <= AT_ONCE
        }
        Some(Err(_)) | None => true,
    };
    if is_short {
        return fits(schema, payload, fault, what);
    }
    let turn = LONG.acquire().await;
    let (schema, payload) = (schema.cloned(), payload.to_vec());
    // Nothing ends it early: it keeps its turn also when nobody waits for it any more.
    let told = spawn_blocking(move || {
        let told = fits(schema.as_ref(), &payload, fault, what);
        drop(turn);
        told
    });
    told.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a payload cannot be checked");
        let text = format!("{what} cannot be checked against schema");
        Err(failure(FunctionErrorKind::System, text))
    })
}

fn failure(kind: FunctionErrorKind, message: String) -> InvocationError {
    InvocationError::Function(FunctionError {
        kind,
        message,
        stacktrace: Vec::new(),
    })
}

fn fits(
    schema: Option<&Compiled>,
    payload: &[u8],
    fault: FunctionErrorKind,
    what: &str,
) -> Result<(), InvocationError> {
    let failed = |kind, message| Err(failure(kind, message));
    let Schema { validator, shape } = match schema {
        None => return Ok(()),
        Some(Ok(schema)) => &**schema,
        Some(Err(bad)) => return failed(FunctionErrorKind::System, bad.to_string()),
    };
    // What is no JSON is told by those who read it next.
    let size = payload.len();
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else {
        return Ok(());
    };
    let start = format!("{what} invalid against schema: ");
    let extent = Extent::of(&payload);
    if extent.values.saturating_mul(shape.weight) > MAX_CHECKS {
        let (values, weight) = (extent.values, shape.weight);
        let text = format!("too large for it: {values} values, of which each may need {weight} checks");
        return failed(fault, format!("{start}{text}"));
    }
    // This remembers what it has seen of a value that it meets again; telling what is wrong does not.
    if validator.is_valid(&payload) {
        return Ok(());
    }
    let visits = shape.visits(extent.depth);
    let again = visits.saturating_mul(extent.values).saturating_mul(shape.weight);
    if visits > 1 && again > MAX_AGAIN {
        let text = "where is not told: the schema leads back to itself and this is too deep";
        return failed(fault, format!("{start}{text}"));
    }
    let list = match size > MAX_TOLD {
        true => validator
            .validate(&payload)
            .err()
            .map(|error| problem(&error))
            .unwrap_or_default(),
        false => problems(validator, &payload),
    };
    failed(fault, format!("{start}validation failure list: {list}"))
}

fn problems(validator: &Validator, payload: &Value) -> String {
    let mut problems = Vec::new();
    let mut more = 0;
    for error in validator.iter_errors(payload) {
        match problems.len() < MAX_PROBLEMS {
            true => problems.push(problem(&error)),
            false => more += 1,
        }
    }
    if more > 0 {
        problems.push(format!("and {more} more"));
    }
    problems.join("; ")
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

    #[tokio::test]
    async fn an_input_that_does_not_fit_is_the_caller_s_fault_and_an_output_the_function_s() {
        let person = schemas(
            json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}),
        );
        person.input(br#"{"name": "Jon"}"#).await.unwrap();
        person.output(br#""fine""#).await.unwrap();

        let (kind, missing) = message(person.input(b"{}").await);
        let (_, wrong) = message(person.input(br#"{"name": 471147}"#).await);
        let (of_output, output) = message(person.output(b"1").await);

        assert_eq!(
            (kind, of_output),
            (FunctionErrorKind::Input, FunctionErrorKind::Function)
        );
        let start = "Input invalid against schema: validation failure list: ";
        assert_eq!(missing, format!("{start}\"name\" is a required property"));
        assert_eq!(wrong, format!("{start}/name: value is not of type \"string\""));
        assert!(output.starts_with("Output invalid against schema: "), "{output}");
    }

    #[tokio::test]
    async fn each_draft_has_its_own_rules() {
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
            assert!(schemas.input(fine.as_bytes()).await.is_ok(), "{schema} {fine}");
            assert!(schemas.input(not.as_bytes()).await.is_err(), "{schema} {not}");
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

    #[tokio::test]
    async fn a_long_list_of_problems_is_cut() {
        let numbers = schemas(json!({"items": {"type": "number"}}));
        let texts = json!(vec!["x"; 100]).to_string();

        let (_, message) = message(numbers.input(texts.as_bytes()).await);

        assert!(
            message.ends_with("; and 90 more") && message.len() < 1000,
            "{message}"
        );
    }

    #[tokio::test]
    async fn a_large_payload_is_checked_beside_the_caller_s_thread_and_not_at_all_if_that_takes_for_ever() {
        let tests: Vec<Value> = (0..4000).map(|n| json!({"not": {"const": n}})).collect();
        let heavy = schemas(json!({"items": {"allOf": tests}}));
        let numbers = |count: usize, number: u32| json!(vec![number; count]).to_string();
        let (fine, wrong, large) = (numbers(1000, 5000), numbers(1000, 7), numbers(200_000, 5000));

        // This runtime has one thread: who holds it keeps all else from going on.
        let mut turns = 0;
        let counted = async {
            loop {
                turns += 1;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        };
        let told = tokio::select! {
            told = heavy.input(fine.as_bytes()) => told,
            () = counted => unreachable!("it counts for ever"),
        };

        told.unwrap();
        assert!(turns > 5, "{turns}");
        assert!(heavy.input(wrong.as_bytes()).await.is_err());
        let (kind, said) = message(heavy.input(large.as_bytes()).await);
        assert_eq!(kind, FunctionErrorKind::Input);
        assert!(
            said.contains("too large for it: 200001 values, of which each may need 120"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn a_pattern_that_never_ends_is_given_up() {
        let evil = schemas(json!({"pattern": "^(a|a)*\\1$"}));
        let began = std::time::Instant::now();

        let text = json!(format!("{}b", "a".repeat(40))).to_string();

        assert!(evil.input(text.as_bytes()).await.is_err());
        assert!(began.elapsed().as_secs() < 10);
    }
}
