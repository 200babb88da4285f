//! What single commands send, and the exact words they end with.

use serde_json::{Value, json};

use crate::hub::FakeHub;

async fn hub_that_takes(paths: &[&str]) -> FakeHub {
    let hub = FakeHub::start().await;
    for path in paths {
        hub.answers(&format!("POST {path}"), 201, json!({"name": "x"}));
        hub.answers(&format!("DELETE {path}/x"), 200, json!({"name": "x"}));
    }
    hub
}

#[tokio::test]
async fn what_was_created_and_deleted_is_said_in_the_original_s_words() {
    let hub = hub_that_takes(&[
        "/v1/baseimage",
        "/v1/image",
        "/v1/function",
        "/v1/event/subscriptions",
        "/v1/event/drivers",
        "/v1/event/drivertypes",
    ])
    .await;
    hub.answers("POST /v1/secret", 201, json!({}));
    hub.answers_text("DELETE /v1/secret/x", 204, "");
    std::fs::write(hub.home().join("hello.py"), "def handle(ctx, payload): pass").unwrap();
    std::fs::write(hub.home().join("secret.json"), r#"{"password": "OpenSesame"}"#).unwrap();

    let table: [(&str, &str); 14] = [
        (
            "create base-image x dispatchframework/nodejs-base:0.0.12 --language nodejs",
            "Created base image: x\n",
        ),
        ("create image x nodejs-base", "Created image: x\n"),
        (
            "create function x --image python3 ./hello.py",
            "Created function: x\n",
        ),
        ("create secret x secret.json", "Created secret: x\n"),
        (
            "create subscription hello --name x --event-type t",
            "created subscription: x\n",
        ),
        ("create eventdriver cron --name x", "Created event driver: x\n"),
        (
            "create eventdrivertype x some/image:1",
            "Created event driver type: x\n",
        ),
        ("delete base-image x", "Deleted base image: x\n"),
        ("delete images x", "Deleted image: x\n"),
        ("delete function x", "Deleted function: x\n"),
        ("delete secret x", "Deleted secret: x\n"),
        ("delete subscription x", "Deleted subscription: x\n"),
        ("delete event-driver x", "Deleted drivers: x\n"),
        ("delete eventdrivertype x", "Deleted driver types: x\n"),
    ];
    for (line, expected) in table {
        let line: Vec<_> = line.split(' ').collect();
        assert_eq!(hub.prints(&line).await, expected, "{line:?}");
    }

    let asked = hub.asked();
    assert_eq!(
        asked[0].body,
        json!({"name": "x", "dockerUrl": "dispatchframework/nodejs-base:0.0.12", "language": "nodejs"})
    );
    assert_eq!(
        asked[3].body,
        json!({"name": "x", "secrets": {"password": "OpenSesame"}})
    );
    assert_eq!(asked[12].line, "DELETE /v1/event/drivers/x");
}

#[tokio::test]
async fn a_function_goes_with_all_that_was_said_about_it() {
    let hub = hub_that_takes(&["/v1/function"]).await;
    std::fs::create_dir(hub.home().join("code")).unwrap();
    std::fs::write(hub.home().join("code/main.js"), "module.exports = () => 1").unwrap();
    std::fs::write(hub.home().join("in.json"), r#"{"type": "object"}"#).unwrap();

    let line = "create function x code --image nodejs --handler ./main.js --secret a --secret b,c --timeout 500 --schema-in in.json";
    hub.prints(&line.split(' ').collect::<Vec<_>>()).await;
    let folder_without_handler = hub
        .run(&["create", "function", "x", "code", "--image", "nodejs"])
        .await;

    let mut body = hub.asked_once().body;
    assert!(body["source"].take().as_str().unwrap().starts_with("H4sI"));
    let expected = json!({"name": "x", "image": "nodejs", "handler": "./main.js", "source": null, "secrets": ["a", "b", "c"],
        "timeout": 500, "schema": {"in": {"type": "object"}}});
    assert_eq!(body, expected);
    assert_eq!(
        (
            folder_without_handler.code,
            folder_without_handler.stderr.as_str()
        ),
        (
            1,
            "error creating function x: handler is required, source path code is a directory\n"
        )
    );
}

#[tokio::test]
async fn a_schedule_says_when_it_ticks_next_beside_its_message() {
    let hub = FakeHub::start().await;
    let answer = json!({"name": "x", "nextTicks": ["2026-01-01T00:00:00Z", "2026-01-01T00:00:10Z", "2026-01-01T00:00:20Z"]});
    hub.answers("POST /v1/event/drivers", 201, answer);

    let ended = hub
        .run(&[
            "create",
            "eventdriver",
            "cron",
            "--name",
            "x",
            "--set",
            "cron=0/10 * * * *",
            "-s",
            "switch",
        ])
        .await;

    assert_eq!(ended.stdout, "Created event driver: x\n");
    assert_eq!(
        ended.stderr,
        "Next ticks: 2026-01-01T00:00:00Z, 2026-01-01T00:00:10Z, 2026-01-01T00:00:20Z\n"
    );
    let config = json!([{"key": "cron", "value": "0/10 * * * *"}, {"key": "switch", "value": ""}]);
    assert_eq!(hub.asked_once().body["config"], config);
}

#[tokio::test]
async fn a_name_that_is_left_out_is_made_up_and_said() {
    let hub = hub_that_takes(&["/v1/event/subscriptions"]).await;

    let said = hub
        .prints(&["create", "subscription", "f", "--event-type", "t"])
        .await;

    let name = said.strip_prefix("created subscription: ").unwrap().trim();
    assert_eq!(name.split('-').count(), 3, "{name}");
    assert_eq!(hub.asked_once().body["name"], name);
}

#[tokio::test]
async fn refusals_are_printed_with_their_code_and_exit_1() {
    let hub = FakeHub::start().await;
    hub.answers(
        "GET /v1/function/x",
        404,
        json!({"code": 404, "message": "function x not found"}),
    );
    hub.answers(
        "POST /v1/image",
        422,
        json!({"code": 602, "message": "name in body is required"}),
    );

    let missing = hub.run(&["get", "function", "x"]).await;
    let invalid = hub.run(&["create", "image", "x", "y"]).await;

    assert_eq!(
        (missing.code, missing.stderr.as_str()),
        (1, "[Code: 404] function x not found\n")
    );
    assert_eq!(missing.stdout, "");
    assert_eq!(
        (invalid.code, invalid.stderr.as_str()),
        (1, "[Code: 602] name in body is required\n")
    );
}

#[tokio::test]
async fn every_failure_exits_with_1_and_help_with_0() {
    let hub = FakeHub::start().await;

    for line in [
        "",
        "nonsense",
        "get",
        "get nonsense",
        "exec",
        "create subscription f",
        "update",
        "exec f --input {",
        "get images extra words",
    ] {
        let ended = hub.run(&line.split_whitespace().collect::<Vec<_>>()).await;
        assert_eq!(ended.code, 1, "{line}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stdout.is_empty() && !ended.stderr.is_empty(), "{line}");
    }
    for line in ["--help", "get --help", "--version"] {
        let ended = hub.run(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{line}");
    }
    assert!(hub.asked().is_empty());
}

#[tokio::test]
async fn nobody_at_the_other_end_is_said_with_how_to_start_a_hub() {
    let hub = FakeHub::start().await;
    let free = dispatch_fixtures::hub::free_port().unwrap();

    let ended = hub.run(&["get", "images", "--port", &free.to_string()]).await;

    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended.stderr.starts_with("received unexpected error: "),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains(&format!("http://127.0.0.1:{free}")),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("dispatch server --data"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn an_answer_that_is_no_json_is_no_success() {
    let hub = FakeHub::start().await;
    hub.answers_text("GET /v1/image", 200, "<html>a proxy</html>");

    let ended = hub.run(&["get", "images"]).await;

    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended.stderr.contains("the answer is not JSON"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn an_event_goes_out_structured() {
    let hub = FakeHub::start().await;
    hub.answers("POST /v1/events", 202, json!({"accepted": 1, "duplicates": 0}));

    let said = hub
        .prints(&[
            "emit",
            "my.event",
            "--data",
            r#"{"a":1}"#,
            "--source",
            "/s",
            "--event-id",
            "7",
        ])
        .await;

    assert_eq!(said, "event emitted\n");
    let asked = hub.asked_once();
    assert_eq!(asked.headers["content-type"], "application/cloudevents+json");
    let told = |name: &str| asked.body[name].clone();
    assert_eq!(
        (told("specversion"), told("type"), told("source"), told("id")),
        (json!("1.0"), json!("my.event"), json!("/s"), json!("7"))
    );
    assert_eq!(told("data"), json!({"a": 1}));
}

#[tokio::test]
async fn unpark_says_how_many_keys() {
    let hub = FakeHub::start().await;
    hub.answers("POST /v1/subscription/s/unpark", 200, json!({"unparked": 2}));

    assert_eq!(hub.prints(&["unpark", "s"]).await, "unparked: 2\n");
    assert_eq!(
        hub.prints(&["unpark", "s", "--key", "vm-1", "--skip"]).await,
        "unparked: 2\n"
    );

    let bodies: Vec<Value> = hub.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(
        bodies,
        [json!({"skip": false}), json!({"skip": true, "key": "vm-1"})]
    );
}

#[tokio::test]
async fn replay_goes_on_where_the_hub_stopped_and_says_how_many() {
    let hub = FakeHub::start().await;
    let answer = json!({"replayed": 2, "next": 9});
    hub.answers("POST /v1/subscription/s/replay", 200, answer.clone());
    hub.answers("POST /v1/api/a/replay", 200, answer);
    let span = [
        "--since",
        "2026-01-31T12:00:00Z",
        "--until",
        "2026-02-01T12:00:00+01:00",
    ];

    let args = [&["replay", "s", "--limit", "6"][..], &span[..]].concat();
    assert_eq!(hub.prints(&args).await, "replayed: 4\n");
    let args = [&["replay", "--api", "a", "--limit", "2"][..], &span[..]].concat();
    assert_eq!(hub.prints(&args).await, "replayed: 2\n");

    let args = [&["replay", "s", "--after", "7", "--limit", "2"][..], &span[..]].concat();
    assert_eq!(hub.prints(&args).await, "replayed: 2\n");

    let bodies: Vec<Value> = hub.asked().into_iter().map(|asked| asked.body).collect();
    let body = |limit: u64| json!({"since": "2026-01-31T12:00:00.000Z", "until": "2026-02-01T11:00:00.000Z", "limit": limit});
    let mut second = body(4);
    second["after"] = json!(9);
    let mut from_there = body(2);
    from_there["after"] = json!(7);
    assert_eq!(bodies, [body(6), second, body(2), from_there]);
}

#[tokio::test]
async fn redrive_says_how_many() {
    let hub = FakeHub::start().await;
    hub.answers(
        "POST /v1/deadletters/redrive",
        200,
        json!({"redriven": 3, "skipped": 0}),
    );

    assert_eq!(
        hub.prints(&["redrive", "--subscription", "s"]).await,
        "redriven: 3\n"
    );
    assert_eq!(hub.prints(&["redrive", "1-a", "2-b"]).await, "redriven: 3\n");
    assert_eq!(hub.prints(&["redrive", "--all"]).await, "redriven: 3\n");
    let nothing_said = hub.run(&["redrive"]).await;

    let bodies: Vec<Value> = hub.asked().into_iter().map(|asked| asked.body).collect();
    assert_eq!(
        bodies,
        [
            json!({"subscription": "s"}),
            json!({"ids": ["1-a", "2-b"]}),
            json!({})
        ]
    );
    assert_eq!(nothing_said.code, 1);
}

#[tokio::test]
async fn versions_are_those_of_both_sides() {
    let hub = FakeHub::start().await;
    hub.answers("GET /v1/version", 200, json!({"version": "9.9.9", "commit": ""}));

    let said = hub.prints(&["version"]).await;

    assert_eq!(
        said,
        concat!("Client: v", env!("CARGO_PKG_VERSION"), "\nServer: v9.9.9\n")
    );
}
