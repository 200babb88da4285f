//! Runs and events: called, listed, followed.

use serde_json::{Value, json};

use crate::hub::FakeHub;

fn run(name: &str, function: &str, started: i64, status: &str) -> Value {
    json!({"name": name, "functionName": function, "status": status, "executedTime": started, "finishedTime": started + 3_319_685})
}

#[tokio::test]
async fn exec_prints_the_run_with_four_spaces_and_its_keys_in_order() {
    let hub = FakeHub::start().await;
    let run = json!({"name": "440256c2", "blocking": true, "executedTime": 1_544_253_540_926_528_854_i64,
        "output": {"myField": "Hello, Jon from Winterfell"}, "logs": {"stderr": null, "stdout": ["x"]}, "reason": null, "tags": []});
    hub.answers("POST /v1/runs", 200, run);

    let printed = hub
        .prints(&[
            "exec",
            "hello-world",
            "--input",
            r#"{"name": "Jon", "place": "Winterfell"}"#,
            "--wait",
            "--secret",
            "s",
        ])
        .await;

    let expected = r#"{
    "blocking": true,
    "executedTime": 1544253540926528854,
    "logs": {
        "stderr": null,
        "stdout": [
            "x"
        ]
    },
    "name": "440256c2",
    "output": {
        "myField": "Hello, Jon from Winterfell"
    },
    "reason": null,
    "tags": []
}
"#;
    assert_eq!(printed, expected);
    let asked = hub.asked_once();
    assert_eq!(asked.line, "POST /v1/runs?functionName=hello-world");
    let body = json!({"functionName": "hello-world", "blocking": true, "input": {"name": "Jon", "place": "Winterfell"}, "secrets": ["s"]});
    assert_eq!(asked.body, body);
}

#[tokio::test]
async fn runs_are_listed_newest_first_as_in_the_published_transcript() {
    let hub = FakeHub::start().await;
    let older = run(
        "55fc2066-bd53-4e04-b0b6-bc1bb7940833",
        "hello-world",
        1_544_254_520_003_363_373,
        "READY",
    );
    let newer = run(
        "5f9a79e0-1612-4169-90e8-e28e1f26640c",
        "hello-world",
        1_544_254_530_003_557_189,
        "READY",
    );
    hub.answers("GET /v1/runs", 200, json!([older, newer]));

    let all = hub.prints(&["get", "runs"]).await;
    let last = hub.prints(&["get", "run", "hello-world", "--last"]).await;

    let expected = [
        "                   ID                  |  FUNCTION   | STATUS |               STARTED               |              FINISHED",
        "  5f9a79e0-1612-4169-90e8-e28e1f26640c | hello-world | READY  | 2018-12-08T16:35:30.003557189+09:00 | 2018-12-08T16:35:30.006876874+09:00",
        "  55fc2066-bd53-4e04-b0b6-bc1bb7940833 | hello-world | READY  | 2018-12-08T16:35:20.003363373+09:00 | 2018-12-08T16:35:20.006683058+09:00",
    ];
    assert_eq!(all.lines().collect::<Vec<_>>(), expected);
    assert_eq!(last.lines().collect::<Vec<_>>(), &expected[..2]);
    assert_eq!(
        hub.asked()[1].line,
        "GET /v1/runs?functionName=hello-world&limit=1"
    );
}

#[tokio::test]
async fn runs_are_sorted_by_what_is_asked_for() {
    let hub = FakeHub::start().await;
    let runs = json!([
        run("1", "b", 1_000, "READY"),
        run("2", "a", 2_000, "READY"),
        run("3", "b", 3_000, "ERROR")
    ]);
    hub.answers("GET /v1/runs", 200, runs);

    for (by, expected) in [("function", "2 3 1"), ("status", "3 2 1"), ("started", "3 2 1")] {
        let printed = hub.prints(&["get", "runs", "--by", by, "-o", "json"]).await;
        let runs: Vec<Value> = serde_json::from_str(&printed).unwrap();
        let names: Vec<_> = runs.iter().map(|run| run["name"].as_str().unwrap()).collect();
        assert_eq!(names.join(" "), expected, "{by}");
    }
}

#[tokio::test]
async fn one_run_is_asked_for_by_its_id() {
    let hub = FakeHub::start().await;
    hub.answers("GET /v1/runs/5f9a", 200, run("5f9a", "f", 1_000, "READY"));

    let printed = hub.prints(&["get", "run", "f", "5f9a", "-o", "json"]).await;

    assert_eq!(serde_json::from_str::<Value>(&printed).unwrap()["name"], "5f9a");
    assert_eq!(hub.asked_once().line, "GET /v1/runs/5f9a?functionName=f");
}

#[tokio::test]
async fn followed_runs_are_printed_as_they_come_and_the_end_of_the_stream_is_said() {
    let hub = FakeHub::start().await;
    let one = run(
        "5f9a79e0-1612-4169-90e8-e28e1f26640c",
        "f",
        1_544_254_530_000_000_000,
        "READY",
    );
    let two = run(
        "55fc2066-bd53-4e04-b0b6-bc1bb7940833",
        "g",
        1_544_254_531_000_000_000,
        "ERROR",
    );
    hub.answers_text(
        "GET /v1/runs",
        200,
        &format!(":\n\nevent: run\ndata: {one}\n\nevent: run\ndata: {two}\n\n: missed 2 runs\n\n"),
    );

    let table = hub.run(&["get", "runs", "f", "--follow"]).await;
    let json = hub.run(&["get", "runs", "-f", "-o", "json"]).await;

    let lines: Vec<_> = table.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[1].starts_with(
            "  5f9a79e0-1612-4169-90e8-e28e1f26640c | f           | READY  | 2018-12-08T16:35:30+09:00"
        ),
        "{lines:?}"
    );
    assert_eq!(
        (table.code, table.stderr.as_str()),
        (1, "missed 2 runs\nthe hub ended the stream\n")
    );
    let values: Vec<Value> = json
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(values, [one, two]);
    assert_eq!(hub.asked()[0].line, "GET /v1/runs?functionName=f&follow=true");
    assert_eq!(hub.asked()[0].headers["accept"], "text/event-stream");
}

#[tokio::test]
async fn events_are_followed_by_type() {
    let hub = FakeHub::start().await;
    let event = json!({"sequence": 1, "arrival": "2026-01-01T00:00:00.5Z", "id": "7", "source": "/s", "type": "vm.powered.off", "subject": "vm-42"});
    hub.answers_text("GET /v1/events", 200, &format!("event: event\ndata: {event}\n\n"));

    let ended = hub
        .run(&["get", "events", "--follow", "--type", "vm.powered.off"])
        .await;

    assert_eq!(
        hub.asked_once().line,
        "GET /v1/events?type=vm.powered.off&follow=true"
    );
    let line = ended
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert_eq!(line, "2026-01-01T00:00:00.5Z | vm.powered.off | /s | vm-42 | 7");
}
