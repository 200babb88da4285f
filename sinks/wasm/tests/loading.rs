//! What cannot be run says why before any call.
// Helpers outside of #[test] functions fail by panicking, as a test does.
#![allow(clippy::unwrap_used)]

mod stage;

use std::process::Command;

use dispatch_fixtures::wasm;
use stage::{Stage, command};

fn from_text(text: &str) -> Vec<u8> {
    wasm::from_text(text).unwrap()
}

#[test]
fn what_cannot_be_run_says_why() {
    let start = r#"(func (export "_start"))"#;
    let imports =
        format!(r#"(module (import "env" "open" (func)) (import "env" "send" (func (param i32))) {start})"#);
    let socket = format!(r#"(module (import "wasi_snapshot_preview1" "sock_open" (func)) {start})"#);
    let too_large = from_text(&command("", "").replace("(export \"memory\") 2", "(export \"memory\") 1000"));
    let table: [(&str, Vec<u8>, &str); 13] = [
        (
            "plain text",
            b"hello".to_vec(),
            "function.wasm is no WebAssembly: it does not begin with \\0asm",
        ),
        ("nothing", Vec::new(), "is no WebAssembly"),
        (
            "text of a module",
            b"  (module)".to_vec(),
            "is WebAssembly as text",
        ),
        (
            "another version",
            b"\0asm\x63\0\0\0".to_vec(),
            "is no WebAssembly that can be run here",
        ),
        (
            "a library",
            from_text(r#"(module (func (export "add")))"#),
            "exports no function `_start`",
        ),
        (
            "a start that wants something",
            from_text(r#"(module (func (export "_start") (param i32)))"#),
            "exports no function `_start`",
        ),
        ("other imports", from_text(&imports), "env.open, env.send"),
        (
            "no import of WASI",
            from_text(&socket),
            "wasi_snapshot_preview1.sock_open",
        ),
        (
            "memory that threads share",
            from_text(&format!("(module (memory 1 2 shared) {start})")),
            "is no WebAssembly that can be run here",
        ),
        (
            "a module that begins with more memory than it may have",
            too_large.clone(),
            "function.wasm begins with 63 MiB of memory and may have 16 MiB",
        ),
        (
            "a component of that module",
            wasm::component(&too_large).unwrap(),
            "function.wasm begins with 63 MiB of memory and may have 16 MiB",
        ),
        (
            "a component without an entry",
            from_text("(component)"),
            "exports no `wasi:cli/run` and no `wasi:http/incoming-handler`",
        ),
        (
            "a component with other imports",
            from_text(r#"(component (import "other-system" (func)))"#),
            "other-system",
        ),
    ];
    for (what, bytes, wanted) in table {
        let Err(reason) = Stage::load("function.wasm", &bytes) else {
            panic!("{what} is loaded");
        };
        assert!(reason.contains(wanted), "{what}: {reason}");
    }
    let Err(missing) = Stage::load("other.wasm", &from_text(&command("", ""))) else {
        panic!("a file that is not there is loaded");
    };
    assert!(missing.starts_with("other.wasm: "), "{missing}");
}

#[test]
fn a_command_line_that_is_none_says_how_it_is_used() {
    let run = |arguments: &[&str]| {
        let run = Command::new(env!("CARGO_BIN_EXE_dispatch-wasm"))
            .args(arguments)
            .output()
            .unwrap();
        (
            run.status.success(),
            String::from_utf8(run.stdout).unwrap() + &String::from_utf8(run.stderr).unwrap(),
        )
    };

    let (fine, version) = run(&["--version"]);
    assert!(fine && version.starts_with("dispatch-wasm "), "{version}");
    for (arguments, wanted) in [
        (&[][..], "usage: dispatch-wasm --memory"),
        (&["--memory", "much", "socket"], "a whole number of mebibytes"),
        (&["--memory", "1", "/no/such/socket"], "/no/such/socket"),
        (
            &["--memory", "1", "--fuel", "-1", "socket"],
            "a whole number of units",
        ),
        (
            &["--memory", "1", "--speed", "1", "socket"],
            "usage: dispatch-wasm --memory",
        ),
    ] {
        let (fine, said) = run(arguments);
        assert!(!fine && said.contains(wanted), "{arguments:?}: {said}");
    }
}
