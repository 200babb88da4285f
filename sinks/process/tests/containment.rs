//! What a function may do to its worker, and what it cannot do to the engine: everything is bounded, and
//! nothing is left running.

mod stage;

use std::time::{Duration, Instant};

use dispatch_contract::{Faas, FunctionErrorKind, InvocationError};
use serde_json::json;
use stage::{Stage, alive, error, eventually, invocation, within};

/// Python that tells its process group and starts a child in it that holds the pipes.
const FORKS: &str = r#"
import os, subprocess, time
def handle(ctx, payload):
    if payload == "group":
        return os.getpgrp()
    if payload == "spawn":
        subprocess.Popen(["sleep", "600"])
        return os.getpgrp()
    if payload == "fork":
        if os.fork() == 0:
            time.sleep(600)
        return os.getpgrp()
    subprocess.Popen(["sleep", "600"])
    if payload == "crash":
        print("about to die", flush=True)
        os._exit(7)
    print("hanging", os.getpgrp())
    while True:
        pass
"#;

#[tokio::test]
async fn a_timeout_kills_the_whole_group_and_the_next_call_is_fine() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let revision = stage.python(FORKS).await;
    let group = stage.output(revision, json!("group")).await.as_i64().unwrap();

    let start = Instant::now();
    let answered = stage
        .call_within(revision, json!("hang"), Duration::from_secs(3))
        .await;

    assert!(matches!(answered.result, Err(InvocationError::Timeout)));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    assert_eq!(answered.logs.stdout, [format!("hanging {group}")]);
    eventually("the group is gone", || alive(group) == 0).await;
    assert_ne!(
        stage.output(revision, json!("group")).await.as_i64().unwrap(),
        group
    );
}

#[tokio::test]
async fn a_crash_is_told_with_the_logs_and_kills_the_group() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let python = stage.python(FORKS).await;
    let group = stage.output(python, json!("group")).await.as_i64().unwrap();

    let answered = stage.call(python, json!("crash")).await;

    assert_eq!(answered.logs.stdout, ["about to die"]);
    let error = error(answered);
    assert_eq!(error.kind, FunctionErrorKind::System);
    assert!(error.message.contains("exit status: 7"), "{error}");
    eventually("the group is gone", || alive(group) == 0).await;
    assert_ne!(
        stage.output(python, json!("group")).await.as_i64().unwrap(),
        group
    );
}

#[tokio::test]
async fn a_node_function_that_breaks_outside_of_its_promise_is_told_and_replaced() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let node = stage
        .node(
            "module.exports = (c, p) => { if (p === 'exit') process.exit(3);\n\
             if (p === 'later') { setTimeout(() => { throw new Error('late'); }, 1); return new Promise(() => {}); }\n\
             if (p === 'reject') { Promise.reject(new Error('floating')); return new Promise(() => {}); }\n return process.pid; };",
        )
        .await;
    for (payload, kind, message) in [
        ("later", FunctionErrorKind::Function, "late"),
        ("reject", FunctionErrorKind::Function, "floating"),
        ("exit", FunctionErrorKind::System, "exit status: 3"),
    ] {
        let error = error(stage.call(node, json!(payload)).await);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
        assert!(stage.output(node, json!("pid")).await.is_number());
    }
}

#[tokio::test]
async fn children_that_hold_the_pipes_delay_nobody() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let revision = stage.python(FORKS).await;
    for how in ["spawn", "fork"] {
        let start = Instant::now();
        let group = stage.output(revision, json!(how)).await.as_i64().unwrap();
        assert!(start.elapsed() < Duration::from_secs(5), "{how}");
        assert!(alive(group) >= 2, "{how}");
    }
    let group = stage.output(revision, json!("group")).await.as_i64().unwrap();

    within(2, stage.engine.stop()).await;

    // What is killed is gone as soon as a busy machine comes to it.
    eventually("the group is gone", || alive(group) == 0).await;
}

#[tokio::test]
async fn a_flood_of_output_neither_blocks_the_worker_nor_fills_memory() {
    let stage = Stage::new();
    let python = stage
        .python("import os\ndef handle(c, p):\n    line = b'x' * 1023 + b'\\n'\n    for _ in range(1600):\n        os.write(p, line * 64)\n    return 'done'\n")
        .await;

    for fd in [1, 2] {
        let answered = stage.call(python, json!(fd)).await;
        assert_eq!(answered.result.unwrap(), "\"done\"");
        let lines = answered.logs.stdout.len() + answered.logs.stderr.len();
        assert!((60..=65).contains(&lines), "{lines}");
        let all = lines as u64 + answered.logs.dropped;
        assert!((102_400..=102_401).contains(&all), "{all}");
    }
    // And while nobody calls.
    let background = stage
        .python("import os, threading\ndef flood():\n    while True: os.write(1, b'y' * 65536)\nthreading.Thread(target=flood, daemon=True).start()\ndef handle(c, p):\n    return 1\n")
        .await;
    for _ in 0..3 {
        assert_eq!(stage.output(background, json!(null)).await, json!(1));
    }
    within(20, stage.engine.remove(background)).await.unwrap();
    // A flood that never ends is stopped by the timeout.
    let endless = stage
        .python("import os\ndef handle(c, p):\n    while True: os.write(1, b'y\\n' * 32768)\n")
        .await;
    let start = Instant::now();
    let answered = stage
        .call_within(endless, json!(null), Duration::from_millis(300))
        .await;
    assert!(matches!(answered.result, Err(InvocationError::Timeout)));
    // An engine that is not optimized reads a flood slowly, and more so beside others: 1.6 s were seen.
    assert!(
        start.elapsed() < Duration::from_millis(5300),
        "{:?}",
        start.elapsed()
    );
    within(5, stage.engine.stop()).await;
}

#[tokio::test]
async fn a_result_beyond_the_bound_is_an_error_that_names_it() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let python = stage.python("def handle(c, p):\n    return 'x' * p\n").await;
    let node = stage.node("module.exports = (c, p) => 'x'.repeat(p);").await;
    for revision in [python, node] {
        assert!(stage.call(revision, json!(1024 * 1024 - 2)).await.result.is_ok());
        let error = error(stage.call(revision, json!(1024 * 1024)).await);
        assert_eq!(error.kind, FunctionErrorKind::Function);
        assert!(error.message.contains("at most 1048576"), "{error}");
    }
}

#[tokio::test]
async fn a_worker_that_talks_nonsense_is_replaced() {
    let stage = Stage::with(|s| s.max_workers = 1);
    // The function finds the engine's socket among its descriptors and abuses it.
    let revision = stage
        .python(
            "import os, stat, struct\ndef handle(c, p):\n    fd = [int(n) for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)\
             and stat.S_ISSOCK(os.fstat(int(n)).st_mode)][0]\n    if p == 'close': os.close(fd)\n    elif p == 'huge': os.write(fd, struct.pack('>I', 1 << 31))\n    \
             elif p == 'garbage': os.write(fd, struct.pack('>I', 5) + b'hello')\n    return 1\n",
        )
        .await;
    for (payload, kind, wanted) in [
        ("close", FunctionErrorKind::System, "the worker"),
        ("huge", FunctionErrorKind::Function, "at most 1048576"),
        ("garbage", FunctionErrorKind::System, "cannot JSON-parse"),
    ] {
        let error = error(stage.call(revision, json!(payload)).await);
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(wanted), "{error}");
        assert_eq!(stage.output(revision, json!(null)).await, json!(1));
    }
}

#[tokio::test]
async fn a_cancelled_call_ends_its_worker() {
    let stage = Stage::with(|s| s.max_workers = 1);
    let revision = stage.python(FORKS).await;
    let group = stage.output(revision, json!("group")).await.as_i64().unwrap();

    let call = stage.engine.invoke(invocation(revision, json!("hang"), None));
    assert!(
        tokio::time::timeout(Duration::from_millis(200), call)
            .await
            .is_err()
    );

    eventually("the group is gone", || alive(group) == 0).await;
    assert_ne!(
        stage.output(revision, json!("group")).await.as_i64().unwrap(),
        group
    );
}

#[tokio::test]
async fn workers_beyond_the_first_go_when_idle_and_memory_is_bounded() {
    let stage = Stage::with(|s| {
        (s.min_workers, s.max_workers) = (1, 3);
        s.idle = Duration::from_millis(100);
        s.limits.address_space = Some(1 << 30);
    });
    let revision = stage
        .python("import os, time\ndef handle(c, p):\n    if p == 'eat': return len(bytearray(2 << 30))\n    time.sleep(3)\n    return os.getpgrp()\n")
        .await;

    let calls = (0..3).map(|_| stage.output(revision, json!(null)));
    let mut groups: Vec<i64> = futures_util::future::join_all(calls)
        .await
        .iter()
        .map(|g| g.as_i64().unwrap())
        .collect();
    groups.sort_unstable();
    groups.dedup();

    assert!(groups.len() > 1, "{groups:?}");
    let living = || groups.iter().filter(|g| alive(**g) > 0).count();
    eventually("one worker is left", || living() == 1).await;
    let error = error(stage.call(revision, json!("eat")).await);
    assert_eq!(
        (error.kind, error.message.as_str()),
        (FunctionErrorKind::Function, "MemoryError")
    );
}

#[tokio::test]
async fn stop_and_drop_leave_no_process() {
    for stop in [true, false] {
        let stage = Stage::new();
        let python = stage.python(FORKS).await;
        let node = stage.node("module.exports = () => process.pid;").await;
        let busy = stage.output(python, json!("spawn")).await.as_i64().unwrap();
        let idle = stage.output(node, json!(null)).await.as_i64().unwrap();
        assert!(alive(busy) > 0 && alive(idle) > 0);

        if stop {
            let hanging = stage.call(python, json!("hang"));
            let stopping = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                within(2, stage.engine.stop()).await;
                assert_eq!(alive(busy) + alive(idle), 0);
            };
            let (answered, ()) = tokio::join!(hanging, stopping);
            assert!(matches!(answered.result, Err(InvocationError::Unavailable(_))));
            let later = stage.deploy("python3", &[("f.py", FORKS)], "").await;
            assert!(later.is_err());
        } else {
            drop(stage);
        }

        eventually("no process is left", || alive(busy) + alive(idle) == 0).await;
    }
}

#[tokio::test]
async fn workers_of_a_crashed_engine_are_killed_by_the_next() {
    let stage = Stage::new();
    let revision = stage.python(FORKS).await;
    let group = stage.output(revision, json!("spawn")).await.as_i64().unwrap();
    let folder = stage.folder.path().join("engine");

    // The crash: nothing of the first engine runs any more, but its processes do.
    let second = dispatch_sink_process::Process::open(dispatch_sink_process::Settings::new(folder)).unwrap();

    eventually("the group is gone", || alive(group) == 0).await;
    second.stop().await;
    within(5, stage.engine.stop()).await;
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_calls_leaves_no_process() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (stage, group) = runtime.block_on(async {
        let stage = std::sync::Arc::new(Stage::with(|s| s.max_workers = 2));
        let revision = stage.python(FORKS).await;
        let group = stage.output(revision, json!("spawn")).await.as_i64().unwrap();
        for _ in 0..5 {
            let stage = std::sync::Arc::clone(&stage);
            tokio::spawn(async move { stage.call(revision, json!("hang")).await });
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        (stage, group)
    });

    let start = Instant::now();
    runtime.shutdown_timeout(Duration::from_secs(5));

    assert!(
        start.elapsed() < Duration::from_secs(4),
        "the runtime's end was held up"
    );
    while alive(group) > 0 {
        assert!(start.elapsed() < Duration::from_secs(5), "processes are left");
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(stage);
}
