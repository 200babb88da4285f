//! Schemas of functions: what is none is refused when the function is created, what is one stays bounded when it is used.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::stage::{Stage, Table};

const ECHO: &str = "def handle(context, payload): return payload\n";
/// What checking one input may take, on a machine that does other things, in a debug build.
const BOUND: Duration = Duration::from_secs(20);
const DRAFTS: [(&str, &str); 5] = [
    ("4", "http://json-schema.org/draft-04/schema#"),
    ("6", "http://json-schema.org/draft-06/schema#"),
    ("7", "http://json-schema.org/draft-07/schema#"),
    ("2019-09", "https://json-schema.org/draft/2019-09/schema"),
    ("2020-12", "https://json-schema.org/draft/2020-12/schema"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_schema_is_refused_with_its_place() -> Result<()> {
    let stage = Stage::start().await?;
    let draft = |n: usize| DRAFTS[n].1;
    let mut deep = json!({});
    for _ in 0..40 {
        deep = json!({"properties": {"a": deep}});
    }
    let doubled: Value = (0..40)
        .map(|n| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"allOf": [next, next]}))
        })
        .chain([("d40".to_owned(), json!({"type": "object"}))])
        .collect::<serde_json::Map<_, _>>()
        .into();
    let rows: Vec<(&str, Value, &str)> = vec![
        ("a text", json!("object"), "schema.in: is not a JSON Schema"),
        ("a list", json!([]), "schema.in: is not a JSON Schema"),
        ("a number", json!(1), "schema.in: is not a JSON Schema"),
        (
            "an unknown type",
            json!({"properties": {"name": {"type": "strin"}}}),
            "at /properties/name/type",
        ),
        (
            "a length below nothing",
            json!({"minLength": -1}),
            "at /minLength",
        ),
        (
            "required that is no list",
            json!({"required": "name"}),
            "at /required",
        ),
        (
            "properties that are a list",
            json!({"properties": []}),
            "at /properties",
        ),
        (
            "a boolean exclusiveMinimum, which is draft 4",
            json!({"minimum": 1, "exclusiveMinimum": true}),
            "read as draft 2020-12: $schema names another",
        ),
        (
            "an exclusiveMinimum that is a number, in draft 4",
            json!({"$schema": draft(0), "exclusiveMinimum": 1}),
            "at /exclusiveMinimum",
        ),
        (
            "an unknown draft",
            json!({"$schema": "http://example.org/mine"}),
            "names none of the drafts 4, 6, 7, 2019-09, 2020-12",
        ),
        ("a draft that is no text", json!({"$schema": 7}), "schema.in: "),
        (
            "a pattern that is none",
            json!({"pattern": "("}),
            "schema.in: is not a JSON Schema at /pattern",
        ),
        (
            "a pattern that repeats too often",
            json!({"pattern": "((a{1000}){1000}){1000}"}),
            "at /pattern",
        ),
        (
            "another document",
            json!({"$ref": "https://example.org/schema.json"}),
            "schema.in: ",
        ),
        (
            "another document of this machine",
            json!({"$ref": "file:///etc/passwd"}),
            "schema.in: ",
        ),
        (
            "the hub itself",
            json!({"$ref": "http://127.0.0.1:8080/v1/secret"}),
            "schema.in: ",
        ),
        (
            "a relative document",
            json!({"$ref": "other.json"}),
            "schema.in: ",
        ),
        (
            "a definition that is not there",
            json!({"$ref": "#/$defs/none"}),
            "schema.in: ",
        ),
        (
            "a definition in a document of its own",
            json!({"$id": "http://example.org/a", "$ref": "b#/x"}),
            "schema.in: ",
        ),
        (
            "256 kB",
            json!({"description": "x".repeat(256 << 10)}),
            "at most 262144 are allowed",
        ),
        (
            "a definition that is two of the next, 40 times",
            json!({"$ref": "#/$defs/d0", "$defs": doubled}),
            "its definitions name each other too often",
        ),
    ];

    let mut table = Table::new("schema | status | what came back");
    for (what, schema, wanted) in rows {
        let body = json!({"name": "bad", "image": "python3", "source": "eA==", "schema": {"in": schema}});
        let began = Instant::now();
        let answer = stage.rest("POST /v1/function", &body).await?;
        table.row(what, answer.status, 400, &answer.said(), wanted);
        ensure!(began.elapsed() < BOUND, "{what}: {:?}", began.elapsed());
        if answer.status == 201 {
            stage.hub.ok(&["delete", "function", "bad"])?;
        }
    }
    let each_other = json!({"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}});
    for (what, schema) in [
        ("deep", deep),
        (
            "a tree",
            json!({"properties": {"left": {"$ref": "#"}, "right": {"$ref": "#"}}}),
        ),
        ("itself and nothing else", json!({"$ref": "#"})),
        (
            "two that are each other",
            json!({"$ref": "#/$defs/a", "$defs": each_other}),
        ),
    ] {
        let made = stage
            .function("fine", ECHO, json!({"schema": {"in": schema}}))
            .await?;
        let call = json!({"blocking": true, "input": {"left": {}}});
        let run = stage.rest("POST /v1/runs?functionName=fine", &call).await?;
        let found = format!("{} {}", made["status"], run.body["status"]);
        table.row(what, found, "\"READY\" \"READY\"".to_owned(), "", "");
        stage.hub.ok(&["delete", "function", "fine"])?;
    }
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_words_mean_what_their_draft_says() -> Result<()> {
    let stage = Stage::start().await?;
    // For each: the schema without its draft, what fits and what does not, and in which drafts it means that; in the
    // others both fit.
    type Meaning = (&'static str, Value, Value, Value, &'static [&'static str]);
    let table_of: Vec<Meaning> = vec![
        (
            "const",
            json!({"const": 1}),
            json!(1),
            json!(2),
            &["6", "7", "2019-09", "2020-12"],
        ),
        (
            "contains",
            json!({"contains": {"type": "string"}}),
            json!(["a"]),
            json!([1]),
            &["6", "7", "2019-09", "2020-12"],
        ),
        (
            "propertyNames",
            json!({"propertyNames": {"maxLength": 1}}),
            json!({"a": 1}),
            json!({"ab": 1}),
            &["6", "7", "2019-09", "2020-12"],
        ),
        (
            "if",
            json!({"if": {"type": "string"}, "then": {"minLength": 2}}),
            json!("ab"),
            json!("a"),
            &["7", "2019-09", "2020-12"],
        ),
        (
            "dependentRequired",
            json!({"dependentRequired": {"a": ["b"]}}),
            json!({"a": 1, "b": 2}),
            json!({"a": 1}),
            &["2019-09", "2020-12"],
        ),
        (
            "unevaluatedProperties",
            json!({"properties": {"a": {}}, "unevaluatedProperties": false}),
            json!({"a": 1}),
            json!({"b": 1}),
            &["2019-09", "2020-12"],
        ),
        (
            "minContains",
            json!({"contains": {"type": "string"}, "minContains": 2}),
            json!(["a", "b"]),
            json!(["a"]),
            &["2019-09", "2020-12"],
        ),
        (
            "a $ref and what is beside it",
            json!({"$ref": "#/definitions/n", "maximum": 3}),
            json!(3),
            json!(4),
            &["2019-09", "2020-12"],
        ),
        (
            "prefixItems",
            json!({"prefixItems": [{"type": "number"}]}),
            json!([1]),
            json!(["a"]),
            &["2020-12"],
        ),
        (
            // Of the later drafts a validator may keep it.
            "dependencies",
            json!({"dependencies": {"a": ["b"]}}),
            json!({"a": 1, "b": 2}),
            json!({"a": 1}),
            &["4", "6", "7", "2019-09", "2020-12"],
        ),
        (
            "1.0 as an integer",
            json!({"not": {"type": "integer"}}),
            json!(1.5),
            json!(1.0),
            &["6", "7", "2019-09", "2020-12"],
        ),
    ];

    let mut table = Table::new("keyword and draft | an input that breaks it | what it says");
    for (draft, uri) in DRAFTS {
        let properties: serde_json::Map<_, _> = table_of
            .iter()
            .map(|(keyword, schema, ..)| ((*keyword).to_owned(), schema.clone()))
            .collect();
        let schema =
            json!({"$schema": uri, "definitions": {"n": {"type": "number"}}, "properties": properties});
        stage.ready("f", ECHO, json!({"schema": {"in": schema}})).await?;
        let fits: serde_json::Map<_, _> = table_of
            .iter()
            .map(|(keyword, _, fits, ..)| ((*keyword).to_owned(), fits.clone()))
            .collect();
        let call = async |input: Value| {
            let body = json!({"blocking": true, "input": input});
            stage.rest("POST /v1/runs?functionName=f", &body).await
        };
        let good = call(Value::Object(fits)).await?;
        ensure!(good.body["status"] == "READY", "draft {draft}: {good:?}");
        for (keyword, _, _, not, drafts) in &table_of {
            let run = call(json!({(*keyword): not})).await?;
            let said = run.body["error"]["message"].as_str().unwrap_or_default();
            let (expected, wanted) = match drafts.contains(&draft) {
                true => (
                    "ERROR",
                    "Input invalid against schema: validation failure list: /",
                ),
                false => ("READY", ""),
            };
            let found = run.body["status"].as_str().unwrap_or_default();
            table.row(&format!("{keyword}, {draft}"), found, expected, said, wanted);
        }
        stage.hub.ok(&["delete", "function", "f"])?;
    }
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_meant_to_take_long_to_check_is_checked_in_time() -> Result<()> {
    let stage = Stage::start().await?;
    let chain = |depth: usize, end: Value| (0..depth).fold(end, |inner, _| json!({"a": inner}));
    let twice = json!({"type": "object", "properties": {"a": {"allOf": [{"$ref": "#"}, {"$ref": "#"}]}}});
    let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let evil = format!("{}!", "a".repeat(40));
    let rows: Vec<(&str, Value, Value, &str)> = vec![
        ("(a+)+$", json!({"pattern": "^(a+)+$"}), json!(evil), "ERROR"),
        (
            "a pattern with a back-reference",
            json!({"pattern": "^(a|a)*\\1$"}),
            json!(evil),
            "ERROR",
        ),
        (
            "the same for each of 2000 items",
            json!({"items": {"pattern": "^(a|a)*\\1$"}}),
            json!(vec![evil.clone(); 2000]),
            "ERROR",
        ),
        (
            "a look ahead",
            json!({"pattern": "^(?=.*[0-9])(?=.*[a-z]).{2,}$"}),
            json!("a1"),
            "READY",
        ),
        (
            "itself, as deep as a document can be",
            json!({"items": {"$ref": "#"}}),
            nested(100),
            "READY",
        ),
        (
            "itself twice, at each of 100 levels",
            twice.clone(),
            chain(100, json!({})),
            "READY",
        ),
        (
            "the same, and wrong at the end",
            twice.clone(),
            chain(100, json!(1)),
            "ERROR",
        ),
        ("the same, at 5 levels", twice, chain(5, json!(1)), "ERROR"),
        (
            "10000 items, each once",
            json!({"uniqueItems": true}),
            json!((0..10_000).collect::<Vec<_>>()),
            "READY",
        ),
        (
            "10000 that are wrong",
            json!({"items": {"type": "string"}}),
            json!((0..10_000).collect::<Vec<_>>()),
            "ERROR",
        ),
        (
            "a number with 400 digits",
            json!({"multipleOf": 3}),
            serde_json::from_str(&"9".repeat(300)).unwrap_or(json!(9)),
            "READY",
        ),
    ];

    let mut table = Table::new("schema | its run | how");
    for (at, (what, schema, input, expected)) in rows.into_iter().enumerate() {
        let name = format!("slow-{at}");
        stage
            .ready(&name, ECHO, json!({"schema": {"in": schema}}))
            .await?;
        let began = Instant::now();
        let body = json!({"blocking": true, "input": input});
        let run = stage
            .rest(&format!("POST /v1/runs?functionName={name}"), &body)
            .await?;
        let took = began.elapsed();
        let message = run.body["error"]["message"].as_str().unwrap_or_default();
        let said = format!("{took:?} {message}");
        table.row(
            what,
            run.body["status"].as_str().unwrap_or_default(),
            expected,
            &said,
            "",
        );
        ensure!(took < BOUND && said.len() < 5000, "{what}: {said}");
    }
    table.done()
}
