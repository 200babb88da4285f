//! What functions do when they are called that no engine can take for an answer: what their run says, and what a caller
//! through an API hears.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::stage::{Stage, Table, told};

/// A function's name, its code, what its run's error is (`type: message`) or its output, and the status for a caller of
/// the API with a part of the body.
type Row = (&'static str, &'static str, &'static str, u16, &'static str);

const ROWS: &[Row] = &[
    (
        "prints noise and answers",
        "import sys\nprint('import')\ndef handle(c, p):\n    print('{\"payload\": 2}')\n    sys.stdout.buffer.write(b'\\xff\\x00\\n')\n    print('x' * 200000, file=sys.stderr)\n    return 1\n",
        "1",
        200,
        "1",
    ),
    ("returns nothing", "def handle(c, p): pass\n", "null", 200, ""),
    (
        "returns a set",
        "def handle(c, p): return {1, 2}\n",
        "FunctionError: ",
        502,
        "failed",
    ),
    (
        "returns bytes",
        "def handle(c, p): return b'x'\n",
        "FunctionError: ",
        502,
        "failed",
    ),
    (
        "returns NaN",
        "def handle(c, p): return float('nan')\n",
        "FunctionError: ",
        502,
        "failed",
    ),
    (
        "returns itself",
        "def handle(c, p):\n    a = []\n    a.append(a)\n    return a\n",
        "FunctionError: ",
        502,
        "failed",
    ),
    (
        "returns 2 MB",
        "def handle(c, p): return 'x' * (2 << 20)\n",
        "FunctionError: ",
        502,
        "failed",
    ),
    (
        "takes one argument",
        "def handle(c): return 1\n",
        "Error: ",
        400,
        "",
    ),
    (
        "raises",
        "def handle(c, p): raise RuntimeError('within')\n",
        "FunctionError: within",
        502,
        "failed",
    ),
    (
        "raises for its caller",
        "def handle(c, p): raise ValueError('who?')\n",
        "InputError: who?",
        400,
        "who?",
    ),
    (
        "raises without end",
        "def handle(c, p): return handle(c, p)\n",
        "FunctionError: ",
        502,
        "failed",
    ),
    (
        "raises what it cannot say",
        "class Odd(Exception):\n    def __str__(self): raise SystemError\ndef handle(c, p): raise Odd()\n",
        "FunctionError: ",
        502,
        "failed",
    ),
    (
        "exits well",
        "import sys\ndef handle(c, p): sys.exit(0)\n",
        "Error: ",
        502,
        "failed",
    ),
    (
        "exits at once",
        "import os\ndef handle(c, p): os._exit(3)\n",
        "SystemError: ",
        502,
        "failed",
    ),
    (
        "kills itself",
        "import os\ndef handle(c, p): os.kill(os.getpid(), 9)\n",
        "SystemError: ",
        502,
        "failed",
    ),
    (
        "hangs",
        "import time\ndef handle(c, p): time.sleep(600)\n",
        "FunctionError: ",
        504,
        "did not answer in time",
    ),
    (
        "closes what it answers on",
        "import os\ndef handle(c, p):\n    os.closerange(0, 256)\n    return 1\n",
        "SystemError: ",
        502,
        "failed",
    ),
    (
        "answers with a status that is none",
        "def handle(c, p): return {'statusCode': 99}\n",
        "{\"statusCode\":99}",
        502,
        "statusCode 99 is not 200 to 599",
    ),
    (
        "answers with a header that is none",
        "def handle(c, p): return {'statusCode': 200, 'headers': {'a b': '1'}}\n",
        "\"statusCode\":200",
        502,
        "header \\\"a b\\\" cannot be sent",
    ),
    (
        "answers with two lines in a header",
        "def handle(c, p): return {'statusCode': 200, 'headers': {'x': 'a\\r\\nset-cookie: b'}}\n",
        "\"statusCode\":200",
        502,
        "cannot be sent",
    ),
    (
        "answers with base64 that is none",
        "def handle(c, p): return {'statusCode': 200, 'body': '%', 'isBase64Encoded': True}\n",
        "\"statusCode\":200",
        502,
        "body is not base64",
    ),
    (
        "publishes an event that is none",
        "def handle(c, p): return {'specversion': '1.0', 'type': ''}\n",
        "{\"specversion\":\"1.0\"",
        200,
        "specversion",
    ),
    (
        "has an answer and goes on",
        "import threading, time\ndef handle(c, p):\n    threading.Thread(target=lambda: time.sleep(600)).start()\n    return 'first'\n",
        "\"first\"",
        200,
        "first",
    ),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_function_does_its_run_says_so_and_its_caller_gets_an_answer() -> Result<()> {
    let stage = Stage::start().await?;
    let mut table = Table::new("function | status | its run; what its caller heard");
    for (at, (what, code, wanted, status, heard)) in ROWS.iter().enumerate() {
        let name = format!("f{at}");
        stage.ready(&name, code, json!({"timeout": 5000})).await?;
        stage.api(&format!("{name} {name} --method POST --path /{name}"))?;

        let run = called(&stage, &name).await?;
        table.row(what, &run.status[..], expected(wanted), &run.came, wanted);

        let answer = told(stage.ask(&format!("POST /dispatch/{name}"))).await?;
        let body = answer.body.to_string();
        table.row("… through an API", answer.status, *status, &body, heard);
        assert!(!body.contains("Traceback"), "{what}: {body}");
    }
    table.done()
}

/// A run that has ended.
struct Ended {
    status: String,
    /// Its output, or its error as `type: message`.
    came: String,
}

async fn called(stage: &Stage, function: &str) -> Result<Ended> {
    let body = json!({"blocking": true, "input": {}});
    let run = stage
        .rest(&format!("POST /v1/runs?functionName={function}"), &body)
        .await?;
    ensure!(run.status == 200, "{function}: {run:?}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let error = &run.body["error"];
    let came = match error {
        Value::Null => run.body["output"].to_string(),
        error => format!("{}: {}", text(&error["type"]), text(&error["message"])),
    };
    Ok(Ended {
        status: text(&run.body["status"]),
        came,
    })
}

fn expected(wanted: &str) -> &'static str {
    match wanted.contains("Error: ") {
        true => "ERROR",
        false => "READY",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_does_not_speak_the_message_is_told_apart() -> Result<()> {
    let stage = Stage::start().await?;
    stage
        .hub
        .ok(&["create", "base-image", "any", "any/exec:1", "--language", "exec"])?;
    stage.hub.ok(&["create", "image", "exec", "any"])?;
    stage.settled("image", "exec").await?;
    let mut table = Table::new("program | its run | what it says");
    for (at, (what, script, status, wanted)) in [
        ("answers", "echo '{\"payload\":1}'", "READY", "1"),
        (
            "answers twice",
            "echo '{\"payload\":1}'; echo '{\"payload\":2}'",
            "ERROR",
            "Error: ",
        ),
        ("says nothing", "exit 0", "ERROR", "Error: "),
        ("says what is no JSON", "echo hello", "ERROR", "Error: "),
        ("says a list", "echo '[1]'", "ERROR", "Error: "),
        ("ends with 3", "echo why >&2; exit 3", "ERROR", "FunctionError: "),
        (
            "ends with 3 and an answer",
            "echo '{\"payload\":1}'; exit 3",
            "ERROR",
            "FunctionError: ",
        ),
        (
            "raises for its caller",
            "echo '{\"context\":{\"error\":{\"type\":\"InputError\",\"message\":\"who?\"}}}'",
            "ERROR",
            "InputError: who?",
        ),
        (
            "says 3 MB",
            "head -c 3000000 /dev/zero | tr '\\0' x",
            "ERROR",
            "Error: ",
        ),
        ("hangs", "sleep 600", "ERROR", "Error: "),
        (
            "does not listen",
            "echo '{\"payload\":1}' ; exec 0<&-",
            "READY",
            "1",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("p{at}");
        let more = json!({"image": "exec", "timeout": 5000});
        let made = stage
            .function(&name, &format!("#!/bin/sh\n{script}\n"), more)
            .await?;
        ensure!(made["status"] == "READY", "{made}");
        let run = called(&stage, &name).await?;
        table.row(what, &run.status[..], status, &run.came, wanted);
    }
    table.done()
}
