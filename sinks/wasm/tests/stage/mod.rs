//! The engine's end of the wire: starts `dispatch-wasm`, has it load a file, calls it.
// Helpers outside of #[test] functions fail by panicking, as a test does; not every test needs all of them.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

/// More than anything here should take, on a machine that does other things.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a call has that should end by itself.
pub const TIME: Duration = Duration::from_secs(60);
/// Mebibytes of an instance.
pub const MEMORY: u64 = 16;

/// A running `dispatch-wasm` that loaded a function.
pub struct Stage {
    child: Child,
    stream: UnixStream,
    folder: TempDir,
}

impl Stage {
    /// `Err` is why it does not run this file.
    pub fn load(file: &str, bytes: &[u8]) -> Result<Self, String> {
        Self::with(&[], file, bytes)
    }

    /// The same with more flags.
    pub fn with(flags: &[&str], file: &str, bytes: &[u8]) -> Result<Self, String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("source")).unwrap();
        std::fs::write(folder.path().join("source/function.wasm"), bytes).unwrap();
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let stderr = std::fs::File::create(folder.path().join("stderr")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dispatch-wasm"))
            .args(["--memory", &MEMORY.to_string()])
            .args(flags)
            .arg(&socket)
            .env("DISPATCH_SECRET", "not for functions")
            .stdin(Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stage = Self {
            child,
            stream,
            folder,
        };
        let source = stage.folder.path().join("source");
        let order = json!({"load": {"folder": source, "handler": file, "maxResult": 1024 * 1024}});
        let answer = stage.exchange(&order.to_string());
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(stage),
        }
    }

    /// What it answers to a call with this payload, in JSON text.
    pub fn call(&mut self, payload: &str) -> Value {
        self.call_within(payload, TIME)
    }

    pub fn call_within(&mut self, payload: &str, left: Duration) -> Value {
        let left = left.as_millis();
        self.exchange(&format!(
            r#"{{"left":{left},"context":{{}},"payload":{payload}}}"#
        ))
    }

    /// What it answers to a request that says this.
    pub fn ask(&mut self, method: &str, uri: &str, headers: &Value, body: &[u8]) -> Value {
        self.ask_within(method, uri, headers, body, TIME)
    }

    pub fn ask_within(
        &mut self,
        method: &str,
        uri: &str,
        headers: &Value,
        body: &[u8],
        left: Duration,
    ) -> Value {
        let request =
            json!({"method": method, "uri": uri, "headers": headers, "body": STANDARD.encode(body)});
        let left = u64::try_from(left.as_millis()).unwrap();
        self.exchange(&json!({"left": left, "request": request}).to_string())
    }

    fn exchange(&mut self, text: &str) -> Value {
        let length = u32::try_from(text.len()).unwrap();
        self.stream.write_all(&length.to_be_bytes()).unwrap();
        self.stream.write_all(text.as_bytes()).unwrap();
        let mut head = [0; 4];
        self.stream.read_exact(&mut head).unwrap();
        let mut body = vec![0; u32::from_be_bytes(head) as usize];
        self.stream.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }

    /// What it wrote to standard error so far.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Gone already is as good.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// A command with these functions of its own, and what its `_start` does. `$say` writes so many bytes from an address to a
/// descriptor; `$ask` reads standard input to address 1024 and gives its length.
pub fn command(functions: &str, start: &str) -> String {
    format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environment (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $folder (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (func $say (param $to i32) (param $at i32) (param $length i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $length))
    (drop (call $fd_write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $ask (result i32)
    (i32.store (i32.const 0) (i32.const 1024))
    (i32.store (i32.const 4) (i32.const 65536))
    (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)))
  {functions}
  (func (export "_start") {start}))"#
    )
}
