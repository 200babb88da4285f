//! What a function sees, what it answers, and what its caller hears, with the real python3 and node.

mod stage;

use std::path::Path;
use std::time::Duration;

use dispatch_contract::{Faas, FaasError, FunctionErrorKind, InvocationError, RuntimeState};
use serde_json::json;
use stage::{Stage, error, invocation, within};

type Files = Vec<(&'static str, &'static str)>;

const HELLO_PY: &str = r#"
def handle(ctx, payload):
    return {"myField": "Hello, %s from %s" % (payload.get("name", "Noone"), payload.get("place", "Nowhere"))}
"#;
const HELLO_JS: &str = r#"
module.exports = async (context, params) => ({ myField: `Hello, ${params.name} from ${params.place}` });
"#;

#[tokio::test]
async fn python_and_node_functions_answer() {
    let stage = Stage::new();
    let python = stage.python(HELLO_PY).await;
    let node = stage.node(HELLO_JS).await;

    for revision in [python, node] {
        let output = stage
            .output(revision, json!({"name": "Jon", "place": "Winterfell"}))
            .await;
        assert_eq!(output, json!({"myField": "Hello, Jon from Winterfell"}));
    }
}

#[tokio::test]
async fn a_handler_is_found_in_the_notation_of_its_language() {
    let stage = Stage::new();
    let py = "def other(ctx, payload):\n    return payload\n";
    let js = "module.exports = (c, p) => p;";
    let esm = "export default (c, p) => p;";
    let table: [(&str, Files, &str); 7] = [
        ("python3", vec![("a.py", py), ("b.py", "")], "a.other"),
        (
            "python3",
            vec![("pkg/__init__.py", ""), ("pkg/a.py", py)],
            "pkg.a.other",
        ),
        (
            "python3",
            vec![("with-dash.py", "def handle(c, p): return p")],
            "",
        ),
        ("nodejs", vec![("a.js", js), ("b.js", "")], "./a.js"),
        ("nodejs", vec![("sub/a.js", js), ("b.js", "")], "sub/a.js"),
        ("nodejs", vec![("any.js", js)], ""),
        ("nodejs", vec![("any.mjs", esm)], "./any.mjs"),
    ];
    for (language, files, handler) in table {
        let revision = stage.deploy(language, &files, handler).await.unwrap();
        assert_eq!(
            stage.output(revision, json!([1, "ü"])).await,
            json!([1, "ü"]),
            "{handler:?}"
        );
        stage.engine.remove(revision).await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_deployed_says_why() {
    let stage = Stage::new();
    let bad = "Invalid function file or handler";
    let two = "Exactly 1 source file needed when HANDLER is empty";
    let table: [(&str, Files, &str, &str); 12] = [
        ("python3", vec![("a.py", HELLO_PY)], "a.nothing", bad),
        ("python3", vec![("a.py", HELLO_PY)], "b.handle", bad),
        ("python3", vec![("a.py", HELLO_PY)], "handle", bad),
        ("python3", vec![("a.py", "def handle(:")], "", bad),
        ("python3", vec![("a.py", "handle = 3")], "", bad),
        ("python3", vec![("a.py", "import sys\nsys.exit(3)")], "", bad),
        (
            "python3",
            vec![("a.py", "import os\nos._exit(3)")],
            "",
            "exit status: 3",
        ),
        ("python3", vec![("a.py", HELLO_PY), ("b.py", "")], "", two),
        ("nodejs", vec![("a.js", "exports.x = 1")], "./a.js", bad),
        ("nodejs", vec![("a.js", "x(")], "./missing.js", bad),
        ("nodejs", vec![("a.js", HELLO_JS)], "../../worker.js", bad),
        (
            "cobol",
            vec![("a.cob", "")],
            "a",
            "the language \"cobol\" is not known: use python3, nodejs, java",
        ),
    ];
    for (language, files, handler, wanted) in table {
        let Err(FaasError::Invalid(reason)) = stage.deploy(language, &files, handler).await else {
            panic!("{files:?} {handler:?} was deployed");
        };
        assert!(reason.contains(wanted), "{files:?} {handler:?}: {reason}");
    }
}

#[tokio::test]
async fn an_error_says_whose_fault_it_is_and_where() {
    let stage = Stage::new();
    let python = stage
        .python(
            "def inner(kind):\n    raise {'v': ValueError, 't': TypeError, 'r': RuntimeError, 'e': SystemExit}[kind]('no ' + kind)\n\
             def handle(ctx, payload):\n    return {'nan': float('nan'), 'obj': object(), 'sur': '\\udc80'}[payload] if len(payload) > 1 else inner(payload)\n",
        )
        .await;
    let node = stage
        .node(
            "module.exports = async (c, p) => {\n  if (p === 't') throw new TypeError('no t');\n  if (p === 'r') throw new Error('no r');\n\
             if (p === 's') throw 'no s';\n  const o = {}; o.o = o; return p === 'big' ? 1n : o;\n};",
        )
        .await;
    use FunctionErrorKind::{Function, Input};
    let table = [
        (python, "v", Input, "no v"),
        (python, "t", Input, "no t"),
        (python, "r", Function, "no r"),
        (python, "e", Function, "SystemExit(no e)"),
        (python, "nan", Function, "cannot be written as JSON"),
        (python, "obj", Function, "cannot be written as JSON"),
        (python, "sur", Function, "cannot be written as JSON"),
        (node, "t", Input, "no t"),
        (node, "r", Function, "no r"),
        (node, "s", Function, "no s"),
        (node, "big", Function, "cannot be written as JSON"),
        (node, "cycle", Function, "cannot be written as JSON"),
    ];
    for (revision, payload, kind, message) in table {
        let error = error(stage.call(revision, json!(payload)).await);
        assert_eq!(error.kind, kind, "{payload}: {error}");
        assert!(error.message.contains(message), "{payload}: {error}");
    }

    let trace = error(stage.call(python, json!("r")).await).stacktrace.join("\n");
    assert!(
        trace.contains("inner") && trace.ends_with("RuntimeError: no r"),
        "{trace}"
    );
    assert!(!trace.contains("worker.py"), "{trace}");
    let trace = error(stage.call(node, json!("r")).await).stacktrace.join("\n");
    assert!(trace.contains("f.js:3"), "{trace}");
}

#[tokio::test]
async fn logs_are_exactly_those_of_the_call() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let python = stage
        .python(
            "import os, sys, subprocess\nprint('loading')\ndef handle(ctx, payload):\n    print('out', payload)\n    \
             sys.stdout.write('no line end')\n    sys.stdout.flush()\n    subprocess.run(['echo', ''])\n    print('err', payload, file=sys.stderr)\n",
        )
        .await;
    let node = stage
        .node("console.log('loading'); module.exports = (c, p) => { console.log('out', p); process.stdout.write('no line end\\n'); console.error('err', p); };")
        .await;

    for revision in [python, node] {
        for n in 0..20 {
            let answered = stage.call(revision, json!(n)).await;
            assert_eq!(answered.result.unwrap(), "null");
            assert_eq!(
                answered.logs.stdout,
                [format!("out {n}"), "no line end".to_owned()]
            );
            assert_eq!(answered.logs.stderr, [format!("err {n}")]);
            assert_eq!(answered.logs.dropped, 0);
        }
    }
}

#[tokio::test]
async fn the_context_arrives_with_the_secrets_and_no_secret_elsewhere() {
    let stage = Stage::new();
    let python = stage
        .python(
            "import os\ndef handle(ctx, payload):\n    read = lambda n: open('/proc/self/' + n).read()\n    \
             return {'ctx': ctx, 'seen': read('environ') + read('cmdline'), 'names': sorted(os.environ), 'cwd': os.getcwd(), 'home': os.environ['HOME'],\
             'core': __import__('resource').getrlimit(4)[1]}\n",
        )
        .await;
    let node = stage
        .node(
            "const fs = require('fs'); module.exports = (ctx) => ({ ctx, seen: fs.readFileSync('/proc/self/environ', 'utf8') + fs.readFileSync('/proc/self/cmdline', 'utf8'),\
             names: Object.keys(process.env).sort(), cwd: process.cwd(), home: process.env.HOME, core: 0 });",
        )
        .await;
    for revision in [python, node] {
        let mut call = invocation(revision, json!(null), None);
        call.context = r#"{"event":{"eventType":"t"},"deadline":"2026-01-01T00:00:00Z"}"#.into();
        call.secrets = [("password".to_owned(), "OpenSesame".into())].into();

        let answered = within(20, stage.engine.invoke(call)).await;

        let got: serde_json::Value = serde_json::from_slice(&answered.result.unwrap()).unwrap();
        let ctx = json!({"secrets": {"password": "OpenSesame"}, "event": {"eventType": "t"}, "deadline": "2026-01-01T00:00:00Z"});
        assert_eq!(got["ctx"], ctx);
        assert!(!got["seen"].as_str().unwrap().contains("OpenSesame"));
        for name in got["names"].as_array().unwrap() {
            let name = name.as_str().unwrap();
            assert!(["PATH", "HOME", "LANG", "LC_CTYPE"].contains(&name), "{name}");
        }
        assert!(
            Path::new(got["cwd"].as_str().unwrap()).starts_with(stage.folder.path().canonicalize().unwrap())
        );
        assert_eq!(got["cwd"], got["home"]);
        assert_eq!(got["core"], 0);
    }
}

#[tokio::test]
async fn dependencies_of_the_image_are_found() {
    let stage = Stage::new();
    let folder = stage.folder.path().join("deps");
    std::fs::create_dir_all(folder.join("node_modules/greet")).unwrap();
    std::fs::write(folder.join("greet.py"), "text = 'hi'").unwrap();
    std::fs::write(
        folder.join("node_modules/greet/index.js"),
        "module.exports = 'hi'",
    )
    .unwrap();
    for (language, name, text) in [
        (
            "python3",
            "f.py",
            "import greet\ndef handle(c, p): return greet.text",
        ),
        (
            "nodejs",
            "f.js",
            "const t = require('greet'); module.exports = () => t;",
        ),
    ] {
        let revision = uuid::Uuid::new_v4();
        let spec = dispatch_contract::FunctionSpec {
            revision,
            organization: "dispatch".into(),
            name: "deps".into(),
            language: language.into(),
            dependencies: Some(folder.clone()),
            source: vec![dispatch_contract::SourceFile {
                path: name.into(),
                content: text.into(),
            }],
            handler: String::new(),
            scale: dispatch_contract::Scale::default(),
            bounds: dispatch_contract::Bounds::default(),
        };
        within(30, stage.engine.deploy(spec)).await.unwrap();
        assert_eq!(stage.output(revision, json!(null)).await, json!("hi"));
    }
}

#[tokio::test]
async fn sixty_four_calls_at_once_are_all_answered_and_a_full_queue_throttles() {
    let stage = Stage::with(|s| {
        s.max_workers = 4;
        s.max_waiting = 60;
    });
    let revision = stage
        .python("import time\ndef handle(c, p):\n    time.sleep(p)\n    return p\n")
        .await;

    let calls = (0..64).map(|_| stage.call(revision, json!(0.02)));
    let answered = futures_util::future::join_all(calls).await;

    let fine = answered.iter().filter(|a| a.result.is_ok()).count();
    let throttled = answered
        .iter()
        .filter(|a| matches!(a.result, Err(InvocationError::Throttled)))
        .count();
    // 60 wait, whether or not a worker is free by then.
    assert!(fine >= 60, "{fine} fine");
    assert!(throttled >= 1, "nothing throttled");
    assert_eq!(fine + throttled, 64);

    // Whoever answered lies idle a moment later: then there is a worker besides the sixty places.
    stage.output(revision, json!(0)).await;
    tokio::task::yield_now().await;
    let calls = (0..61).map(|_| stage.call(revision, json!(0.001)));
    let answered = futures_util::future::join_all(calls).await;
    assert!(answered.iter().all(|a| a.result.is_ok()));
}

#[tokio::test]
async fn a_call_that_waits_too_long_never_runs() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let revision = stage
        .python("import time, os\ndef handle(c, p):\n    if p: time.sleep(0.5)\n    else: open('ran', 'w')\n    return os.path.exists('ran')\n")
        .await;

    let slow = stage.call(revision, json!(true));
    let hasty = stage.call_within(revision, json!(false), Duration::from_millis(100));
    let (slow, hasty) = tokio::join!(slow, hasty);

    assert!(slow.result.is_ok());
    let Err(InvocationError::Unavailable(reason)) = hasty.result else {
        panic!("it ran");
    };
    assert_eq!(reason, "did not invoke, already exceeded timeout");
    assert_eq!(stage.output(revision, json!(true)).await, json!(false));
}

#[tokio::test]
async fn a_removed_revision_ends_its_calls_first() {
    let stage = Stage::new();
    let revision = stage
        .python("import time\ndef handle(c, p):\n    print('x')\n    time.sleep(0.3)\n    return 1\n")
        .await;

    let removed = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.engine.remove(revision).await.unwrap();
    };
    let (answered, ()) = tokio::join!(stage.call(revision, json!(null)), removed);

    assert_eq!(answered.result.unwrap(), "1");
    let after = stage.call(revision, json!(null)).await;
    assert!(matches!(after.result, Err(InvocationError::Unavailable(_))));
    let left = std::fs::read_dir(stage.folder.path().join("engine/revisions"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
    within(5, stage.engine.remove(revision)).await.unwrap();
}

#[tokio::test]
async fn runtimes_of_this_machine_are_told() {
    let stage = Stage::new();
    for (language, version) in [("python3", "Python 3"), ("nodejs", "Node.js v")] {
        let found = stage.engine.runtime(language).await;
        let RuntimeState::Ready { version: got } = &found.state else {
            panic!("{found:?}");
        };
        assert!(got.starts_with(version), "{got}");
    }
    let runtime = stage.engine.runtime("powershell").await;
    if let RuntimeState::Missing { reason } = runtime.state {
        assert_eq!(reason, "no `pwsh` on PATH");
    }
}

#[tokio::test]
async fn the_executable_for_webassembly_is_looked_for_among_the_plugins_and_one_that_is_missing_can_be_built()
{
    let wasm = |stage: Stage| async move { stage.engine.runtime("wasm").await.state };
    if let RuntimeState::Missing { reason } = wasm(Stage::new()).await {
        assert!(reason.contains("no `dispatch-wasm` beside the hub"), "{reason}");
        assert!(
            reason.ends_with("`cargo build --release -p dispatch-sink-wasm`"),
            "{reason}"
        );
    }

    let plugins = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/bin/echo", plugins.path().join("dispatch-wasm")).unwrap();
    let stage = Stage::with(|settings| settings.plugins = Some(plugins.path().to_owned()));
    let found = wasm(stage).await;
    assert!(matches!(found, RuntimeState::Ready { .. }), "{found:?}");
}
