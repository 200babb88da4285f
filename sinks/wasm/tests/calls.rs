//! What calls of a function that is WebAssembly come to, over the wire of the real executable.
// Helpers outside of #[test] functions fail by panicking, as a test does.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::{Duration, Instant};

use dispatch_fixtures::wasm;
use serde_json::{Value, json};
use stage::{MEMORY, Stage, TIME, command};

/// Answers with the message itself, and what it does before, by the digit that is its payload.
const KINDS: &str = r#"
  (table $table 1 funcref)
  (data (i32.const 512) "boom\nhello")
  (func $deep (call $deep))
  (func $flood (loop $again (call $say (i32.const 1) (i32.const 0) (i32.const 65536)) (br $again)))
  (func $do (param $kind i32)
    (block $8 (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
      (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 (local.get $kind)))
      (return))
      (unreachable))
      (call $say (i32.const 2) (i32.const 512) (i32.const 5))
      (call $exit (i32.const 3)))
      (call $deep) (return))
      (drop (memory.grow (i32.const 2000))) (return))
      (drop (table.grow $table (ref.null func) (i32.const 10000000))) (return))
      (call $flood))
      (call $say (i32.const 1) (i32.const 517) (i32.const 5)) (call $exit (i32.const 0)))
    (loop $ever (br $ever)))
"#;
/// The payload is the 25th byte of the message.
const START: &str = r#"
  (local $length i32)
  (local.set $length (call $ask))
  (call $do (i32.sub (i32.load8_u (i32.const 1048)) (i32.const 48)))
  (call $say (i32.const 1) (i32.const 1024) (local.get $length))
"#;
const LOOP: &str = "8";

/// Payload, whose fault, and what is said.
const FAILURES: [(&str, &str, &str); 7] = [
    (
        "1",
        "FunctionError",
        "the program trapped (wasm `unreachable` instruction executed)",
    ),
    ("2", "FunctionError", "the program failed (exit status: 3): boom"),
    ("3", "FunctionError", "the program trapped (call stack exhausted)"),
    (
        "4",
        "SystemError",
        "it needs more memory than the 16 MiB it may have",
    ),
    (
        "5",
        "SystemError",
        "it needs more memory than the 16 MiB it may have",
    ),
    ("6", "FunctionError", "a result has at most 1048576"),
    (
        "7",
        "FunctionError",
        "the program's standard output is no function message",
    ),
];

fn module(text: &str) -> Stage {
    Stage::load("function.wasm", &wasm::from_text(text).unwrap()).unwrap()
}

fn component(text: &str) -> Stage {
    let module = wasm::from_text(text).unwrap();
    Stage::load("function.wasm", &wasm::component(&module).unwrap()).unwrap()
}

fn assert_answered(answer: &Value, payload: Value) {
    assert_eq!(
        (&answer["payload"], &answer["context"]["error"]),
        (&payload, &Value::Null)
    );
}

#[test]
fn a_module_gets_the_message_and_answers() {
    let mut stage = module(&command(KINDS, START));
    assert_answered(&stage.call("0"), json!(0));
}

#[test]
fn a_component_gets_the_message_and_answers() {
    let mut stage = component(&command(KINDS, START));
    assert_answered(&stage.call("0"), json!(0));
}

#[test]
fn nothing_of_a_call_is_there_in_the_next() {
    // Counts in its memory and in a global: both are said.
    let functions = r#"(data (i32.const 512) "{\"payload\": 00}") (global $calls (mut i32) (i32.const 48))"#;
    let start = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (i32.store8 (i32.const 524) (global.get $calls))
        (i32.store8 (i32.const 525) (i32.add (i32.load8_u (i32.const 525)) (i32.const 1)))
        (call $say (i32.const 1) (i32.const 512) (i32.const 15))";
    let mut stage = module(&command(functions, start));
    for _ in 0..3 {
        assert_answered(&stage.call("null"), json!(11));
    }
}

#[test]
fn a_call_that_fails_says_how_and_the_same_worker_answers_the_next() {
    for (mut stage, kind) in [
        (module(&command(KINDS, START)), "module"),
        (component(&command(KINDS, START)), "component"),
    ] {
        for (payload, fault, said) in FAILURES {
            // An exit status is but success or failure there.
            let said = match kind {
                "component" => said.replace("status: 3", "status: 1"),
                _ => said.to_owned(),
            };
            let answer = stage.call(payload);
            let error = &answer["context"]["error"];
            assert_eq!(error["type"], fault, "{kind} {payload}: {answer}");
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.contains(&said), "{kind} {payload}: {answer}");
            assert_answered(&stage.call("0"), json!(0));
        }
        assert!(stage.stderr().contains("boom\n"), "standard error is log");
    }
}

#[test]
fn where_a_program_trapped_is_told() {
    let mut stage = module(&command(KINDS, START));
    let answer = stage.call("1");
    let trace = answer["context"]["error"]["stacktrace"].as_array().unwrap();
    assert_eq!(trace.last().unwrap(), "at do", "{answer}");
}

#[test]
fn a_program_that_never_ends_is_stopped_at_its_deadline_and_the_same_worker_answers_the_next() {
    for mut stage in [module(&command(KINDS, START)), component(&command(KINDS, START))] {
        // Once after a longer watch, once after a shorter one.
        for left in [300, 100, 300].map(Duration::from_millis) {
            assert_answered(&stage.call_within("0", TIME), json!(0));
            let began = Instant::now();
            let answer = stage.call_within(LOOP, left);
            let took = began.elapsed();
            assert_eq!(answer["context"]["timeout"], true, "{answer}");
            assert!(took >= left && took < left + Duration::from_secs(20), "{took:?}");
        }
        assert_answered(&stage.call("0"), json!(0));
    }
}

#[test]
fn a_program_that_spent_its_fuel_is_stopped_and_the_same_worker_answers_the_next() {
    let text = command(KINDS, START);
    let module = wasm::from_text(&text).unwrap();
    for bytes in [module.clone(), wasm::component(&module).unwrap()] {
        let mut stage = Stage::with(&["--fuel", "1000000"], "function.wasm", &bytes).unwrap();
        for _ in 0..2 {
            let answer = stage.call(LOOP);
            let error = &answer["context"]["error"];
            assert_eq!(error["type"], "FunctionError", "{answer}");
            let message = "the program was ended during the call: it spent its 1000000 units of fuel";
            assert_eq!(error["message"], message, "{answer}");
            let trace = error["stacktrace"].as_array().unwrap();
            assert_eq!(trace.last().unwrap(), "at do", "{answer}");
            // Each call has all of it.
            assert_answered(&stage.call("0"), json!(0));
        }
    }
}

#[test]
fn fuel_and_deadline_bound_a_call_each_by_itself() {
    let much = u64::MAX.to_string();
    let module = wasm::from_text(&command(KINDS, START)).unwrap();
    let mut stage = Stage::with(&["--fuel", &much], "function.wasm", &module).unwrap();
    let answer = stage.call_within(LOOP, Duration::from_millis(300));
    assert_eq!(answer["context"]["timeout"], true, "{answer}");
}

#[test]
fn memories_that_only_together_are_too_much_are_told_when_it_begins() {
    let text = command("(memory $more 255)", "");
    let answer = module(&text).call("0");
    let message = answer["context"]["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains(&format!("than the {MEMORY} MiB")), "{answer}");
}

#[test]
fn a_program_sees_neither_environment_nor_folders() {
    // The exit status: how many variables there are, and what asking for the first folder comes to (8: no such descriptor).
    let start = "(drop (call $environment (i32.const 16) (i32.const 20)))
        (call $exit (i32.add (i32.mul (i32.load (i32.const 16)) (i32.const 10))
            (call $folder (i32.const 3) (i32.const 24))))";
    let answer = module(&command("", start)).call("0");
    let message = answer["context"]["error"]["message"].as_str().unwrap_or_default();
    assert_eq!(message, "the program failed (exit status: 8)");
}

#[test]
fn a_call_that_is_no_call_is_an_input_error() {
    let mut stage = module(&command(KINDS, START));
    let answer = stage.call("nonsense");
    assert_eq!(answer["context"]["error"]["type"], "InputError", "{answer}");
    assert_answered(&stage.call("0"), json!(0));
}
