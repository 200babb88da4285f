//! What requests to an HTTP handler come to, over the wire of the real executable.
// Helpers outside of #[test] functions fail by panicking, as a test does.
#![allow(clippy::unwrap_used)]

mod stage;

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dispatch_fixtures::wasm;
use serde_json::{Value, json};
use stage::Stage;

/// `None`, visibly, where there is no compiler.
fn handler(flags: &[&str]) -> Option<Stage> {
    let folder = tempfile::tempdir().unwrap();
    let component = wasm::handler(folder.path()).unwrap()?;
    Some(Stage::with(flags, "function.wasm", &component).unwrap())
}

fn get(stage: &mut Stage, path: &str) -> Value {
    stage.ask("GET", path, &json!([["host", "hub:8081"]]), b"")
}

fn body(answer: &Value) -> Vec<u8> {
    let text = answer["response"]["body"].as_str();
    let text = text.unwrap_or_else(|| panic!("no response: {answer}"));
    STANDARD.decode(text).unwrap()
}

fn assert_well(stage: &mut Stage) {
    let answer = get(stage, "/teapot");
    assert_eq!(body(&answer), b"short and stout", "{answer}");
}

#[test]
fn a_handler_gets_the_request_and_its_response_is_the_answer() {
    let Some(mut stage) = handler(&[]) else { return };
    let headers = json!([
        ["host", "hub:8081"],
        ["x-mine", "seen"],
        ["content-type", "application/json"],
        ["ce-type", "vm.on"]
    ]);

    for _ in 0..2 {
        let answer = stage.ask("POST", "/users/7?a=1", &headers, b"{\"n\": 1.0}");

        let told: Value = serde_json::from_slice(&body(&answer)).unwrap();
        let wanted = json!({
            "method": "POST", "target": "/users/7?a=1", "mine": "seen", "type": "application/json", "event": "vm.on",
            "body": {"n": 1.0},
            // Nothing of the last call is left.
            "calls": 1,
        });
        assert_eq!(told, wanted);
        assert_eq!(answer["response"]["status"], 200);
    }
    assert!(
        stage.stderr().contains("asked for /users/7?a=1\n"),
        "what it prints is log"
    );

    let teapot = &get(&mut stage, "/teapot")["response"];
    assert_eq!(teapot["status"], 418);
    let headers = teapot["headers"].as_array().unwrap();
    for header in [["x-mood", "teapot"], ["set-cookie", "a=1"], ["set-cookie", "b=2"]] {
        assert!(headers.contains(&json!(header)), "{teapot}");
    }
}

#[test]
fn a_long_body_reaches_the_handler_and_comes_back_whole() {
    let Some(mut stage) = handler(&[]) else { return };
    let long = format!("\"{}\"", "x".repeat(900_000));

    let answer = stage.ask("PUT", "/", &json!([["host", "hub"]]), long.as_bytes());

    let told: Value = serde_json::from_slice(&body(&answer)).unwrap();
    assert_eq!(told["body"].to_string(), long);
}

#[test]
fn a_handler_that_fails_says_how_and_the_same_worker_answers_the_next() {
    let Some(mut stage) = handler(&[]) else { return };
    let table = [
        (
            "/crash",
            "the program trapped (wasm `unreachable` instruction executed)",
        ),
        ("/silent", "the handler returned without a response"),
        (
            "/refuses",
            "the handler answered with an error: ErrorCode::HttpProtocolError",
        ),
        (
            "/flood",
            "the result has more than 1048576 bytes; a result has at most 1048576",
        ),
    ];
    println!("| path | type | message |\n|---|---|---|");
    for (path, wanted) in table {
        let answer = get(&mut stage, path);
        let error = &answer["context"]["error"];
        let message = error["message"].as_str().unwrap_or_default();
        println!("| {path} | {} | {message} |", error["type"]);
        assert_eq!(error["type"], "FunctionError", "{path}: {answer}");
        assert!(message.starts_with(wanted), "{path}: {answer}");
        assert_well(&mut stage);
    }
}

#[test]
fn a_handler_ends_at_its_deadline_and_when_its_fuel_is_spent() {
    let Some(mut stage) = handler(&[]) else { return };
    let left = Duration::from_millis(300);
    let began = Instant::now();
    let answer = stage.ask_within("GET", "/loop", &json!([["host", "hub"]]), b"", left);
    assert_eq!(answer["context"]["timeout"], true, "{answer}");
    assert!(began.elapsed() >= left);
    assert_well(&mut stage);

    let Some(mut stage) = handler(&["--fuel", "5000000"]) else {
        return;
    };
    let answer = get(&mut stage, "/loop");
    let message = answer["context"]["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("it spent its 5000000 units of fuel"), "{answer}");
    assert_well(&mut stage);
}

#[test]
fn a_request_of_a_handlers_own_is_denied_and_the_log_says_so() {
    let Some(mut stage) = handler(&[]) else { return };

    let answer = get(&mut stage, "/outside");

    // `HTTP-request-denied` among the error codes.
    assert_eq!(body(&answer), b"15", "{answer}");
    let log = stage.stderr();
    let wanted = "no request to \"example.org\" was sent: functions in WebAssembly reach no network\n";
    assert!(log.contains(wanted), "{log}");
}

#[test]
fn what_is_no_request_is_an_input_error() {
    let Some(mut stage) = handler(&[]) else { return };
    for answer in [
        stage.call("1"),
        stage.ask("GET", "no uri", &json!([]), b""),
        stage.ask("GET", "/", &json!([["a b", ""]]), b""),
    ] {
        assert_eq!(answer["context"]["error"]["type"], "InputError", "{answer}");
    }
    assert_well(&mut stage);
}
