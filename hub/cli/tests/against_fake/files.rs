//! Whole files of resources, and the seed images.

use serde_json::json;

use crate::hub::FakeHub;

const EXAMPLE: &str = r#"
kind: Function
name: hello-js
sourcePath: nodejs/hello.js
image: nodejs
schema:
  in: {properties: {name: {type: string}}, required: [name]}
tags: [{key: role, value: test}]
---
kind: Secret
name: open-sesame
secrets:
  password: |
    a
    ---
    b
---
kind: DriverType
name: ticker
image: dispatchframework/ticker:0.0.2
---
kind: Driver
name: ticker
type: ticker
config: [{key: seconds, value: 2}]
---
kind: subscription
eventtype: ticker.tick
function: hello-js
name: ticker-sub
"#;

async fn hub_that_takes_everything() -> FakeHub {
    let hub = FakeHub::start().await;
    let taken = [
        ("/v1/baseimage", ""),
        ("/v1/image", ""),
        ("/v1/function", "hello-js"),
        ("/v1/secret", "open-sesame"),
        ("/v1/event/drivertypes", "ticker"),
        ("/v1/event/drivers", "ticker"),
        ("/v1/event/subscriptions", "ticker-sub"),
    ];
    for (path, name) in taken {
        hub.answers(&format!("POST {path}"), 201, json!({}));
        hub.answers(&format!("PUT {path}/{name}"), 200, json!({}));
        hub.answers(&format!("DELETE {path}/{name}"), 200, json!({}));
    }
    std::fs::create_dir(hub.home().join("nodejs")).unwrap();
    std::fs::write(hub.home().join("nodejs/hello.js"), "module.exports = () => 1").unwrap();
    std::fs::write(hub.home().join("all.yaml"), EXAMPLE).unwrap();
    hub
}

fn said(verb: &str) -> String {
    let all = [
        "Function: hello-js",
        "Secret: open-sesame",
        "DriverType: ticker",
        "Driver: ticker",
        "Subscription: ticker-sub",
    ];
    all.map(|what| format!("{verb} {what}\n")).concat()
}

#[tokio::test]
async fn a_file_is_created_in_its_order_with_dashes_in_texts_and_keys_in_any_case() {
    let hub = hub_that_takes_everything().await;

    let printed = hub.prints(&["create", "-f", "all.yaml"]).await;

    assert_eq!(printed, said("Created"));
    let asked = hub.asked();
    let lines: Vec<_> = asked.iter().map(|asked| asked.line.as_str()).collect();
    let expected = [
        "POST /v1/function",
        "POST /v1/secret",
        "POST /v1/event/drivertypes",
        "POST /v1/event/drivers",
        "POST /v1/event/subscriptions",
    ];
    assert_eq!(lines, expected);
    assert!(asked[0].body["source"].is_string() && asked[0].body.get("sourcePath").is_none());
    assert_eq!(asked[1].body["secrets"]["password"], "a\n---\nb\n");
    assert_eq!(asked[3].body["config"][0]["value"], "2");
    assert_eq!(asked[4].body["eventType"], "ticker.tick");
}

#[tokio::test]
async fn update_replaces_delete_removes_and_apply_does_what_is_needed() {
    let hub = hub_that_takes_everything().await;
    hub.answers(
        "PUT /v1/secret/open-sesame",
        404,
        json!({"code": 404, "message": "secret open-sesame not found"}),
    );

    let applied = hub.prints(&["apply", "-f", "all.yaml"]).await;
    let updated = hub.run(&["update", "-f", "all.yaml"]).await;
    std::fs::remove_dir_all(hub.home().join("nodejs")).unwrap();
    let deleted = hub.prints(&["delete", "-f", "all.yaml"]).await;

    assert_eq!(applied, said("Applied"));
    assert!(hub.asked().iter().any(|asked| asked.line == "POST /v1/secret"));
    assert_eq!(
        (updated.code, updated.stdout.as_str()),
        (1, "Updated Function: hello-js\n")
    );
    assert_eq!(
        updated.stderr,
        "all.yaml: document 2 (Secret open-sesame): [Code: 404] secret open-sesame not found\n"
    );
    assert_eq!(deleted, said("Deleted"));
}

#[tokio::test]
async fn a_wrong_document_leaves_the_hub_alone() {
    let hub = hub_that_takes_everything().await;
    let text = format!("{EXAMPLE}---\nkind: Policy\nname: p\n");
    std::fs::write(hub.home().join("all.yaml"), text).unwrap();

    let ended = hub.run(&["create", "-f", "all.yaml"]).await;

    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""));
    assert!(
        ended
            .stderr
            .starts_with("all.yaml: document 6: kind Policy is not known"),
        "{}",
        ended.stderr
    );
    assert!(hub.asked().is_empty());
}

#[tokio::test]
async fn a_file_from_the_web_brings_its_sources_along() {
    let hub = hub_that_takes_everything().await;
    hub.answers_text("GET /examples/all.yaml", 200, EXAMPLE);
    hub.answers_text("GET /examples/nodejs/hello.js", 200, "module.exports = () => 2");
    let url = format!("http://127.0.0.1:{}/examples/all.yaml", hub.port());

    let printed = hub
        .prints(&["create", &format!("--file={url}"), "--work-dir=work"])
        .await;

    assert_eq!(printed, said("Created"));
    let fetched = std::fs::read_to_string(hub.home().join("work/nodejs/hello.js")).unwrap();
    assert_eq!(fetched, "module.exports = () => 2");
}

#[tokio::test]
async fn a_file_from_the_web_reaches_nothing_outside_the_work_folder() {
    let hub = hub_that_takes_everything().await;
    let url = format!("http://127.0.0.1:{}/bad.yaml", hub.port());

    for path in ["../../.ssh/id_rsa", "/etc/passwd"] {
        hub.answers_text(
            "GET /bad.yaml",
            200,
            &format!("kind: Function\nname: f\nimage: i\nsourcePath: {path}\n"),
        );
        let ended = hub.run(&["create", "-f", &url]).await;
        assert_eq!(ended.code, 1);
        assert!(
            ended.stderr.contains("must lie below the work folder"),
            "{}",
            ended.stderr
        );
    }
    assert!(hub.asked().iter().all(|asked| asked.line == "GET /bad.yaml"));
}

#[tokio::test]
async fn the_seed_images_are_created_in_the_published_order() {
    let hub = hub_that_takes_everything().await;

    let printed = hub.prints(&["create", "seed-images"]).await;

    let expected = "\
Created BaseImage: nodejs-base
Created BaseImage: python3-base
Created BaseImage: powershell-base
Created BaseImage: java-base
Created Image: nodejs
Created Image: python3
Created Image: powershell
Created Image: java
";
    assert_eq!(printed, expected);
    let python = &hub.asked()[5].body;
    assert_eq!(python["baseImageName"], "python3-base");
    assert_eq!(python["runtimeDependencies"]["manifest"], "requests");
}

#[tokio::test]
async fn the_seed_images_can_be_written_down_without_a_hub() {
    let hub = FakeHub::start().await;

    let ended = hub
        .run(&["create", "seed-images", "-O", "seed.yaml", "--port", "1"])
        .await;

    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let text = std::fs::read_to_string(hub.home().join("seed.yaml")).unwrap();
    assert!(text.contains("dispatchframework/java-base:0.0.13"), "{text}");
}
