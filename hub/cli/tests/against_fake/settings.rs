//! Which hub is asked, as whom, and what a shell gets.

use serde_json::{Value, json};

use crate::hub::FakeHub;

fn write_config(hub: &FakeHub, context: &Value) {
    let folder = hub.home().join(".dispatch");
    std::fs::create_dir_all(&folder).unwrap();
    let config = json!({"current": "here", "contexts": {"here": context}});
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
}

#[tokio::test]
async fn the_context_is_used_the_environment_stands_over_it_and_flags_over_both() {
    let hub = FakeHub::start().await;
    hub.answers("GET /v1/image", 200, json!([]));
    write_config(
        &hub,
        &json!({"host": "127.0.0.1", "port": hub.port(), "organization": "from-context"}),
    );
    let environment = [("DISPATCH_ORGANIZATION", "from-environment")];

    let runs = [
        hub.run_with(&["get", "images"], &[]).await,
        hub.run_with(&["get", "images"], &environment).await,
        hub.run_with(&["--organization", "from-flag", "get", "images"], &environment)
            .await,
        hub.run_with(&["get", "images", "--organization", "from-flag"], &environment)
            .await,
    ];

    assert!(runs.iter().all(|ended| ended.code == 0), "{runs:?}");
    let organizations: Vec<_> = hub
        .asked()
        .iter()
        .map(|asked| asked.headers["x-dispatch-org"].clone())
        .collect();
    assert_eq!(
        organizations,
        ["from-context", "from-environment", "from-flag", "from-flag"]
    );
}

#[tokio::test]
async fn without_an_organization_no_header_is_sent_and_a_token_is_a_bearer() {
    let hub = FakeHub::start().await;
    hub.answers("GET /v1/image", 200, json!([]));
    let port = hub.port().to_string();

    hub.run_with(
        &["get", "images"],
        &[("DISPATCH_PORT", &port), ("DISPATCH_TOKEN", "abc")],
    )
    .await;

    let asked = hub.asked_once();
    assert!(!asked.headers.contains_key("x-dispatch-org"));
    assert_eq!(asked.headers["authorization"], "Bearer abc");
}

#[tokio::test]
async fn another_configuration_file_can_be_named() {
    let hub = FakeHub::start().await;
    hub.answers("GET /v1/image", 200, json!([]));
    let flat = json!({"host": "127.0.0.1", "port": hub.port(), "organization": "flat", "scheme": "http", "skipauth": true});
    std::fs::write(hub.home().join("old.json"), flat.to_string()).unwrap();

    let ended = hub
        .run_with(&["get", "images"], &[("DISPATCH_CONFIG", "old.json")])
        .await;

    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(hub.asked_once().headers["x-dispatch-org"], "flat");
}

#[tokio::test]
async fn contexts_are_made_listed_chosen_and_forgotten() {
    let hub = FakeHub::start().await;
    let run = async |line: &str| hub.run_with(&line.split(' ').collect::<Vec<_>>(), &[]).await;

    assert_eq!(
        run("context set solo --host 10.0.0.5 --port 8080").await.stdout,
        "Set context to solo\n"
    );
    assert_eq!(
        run("context set other --host 10.0.0.6").await.stdout,
        "Set context to other\n"
    );
    assert_eq!(run("context set solo").await.stdout, "Set context to solo\n");
    assert_eq!(run("context current").await.stdout, "solo\n");
    let listed = run("context").await.stdout;
    assert_eq!(run("context delete other").await.code, 0);
    let unknown = run("context set other").await;

    assert!(
        listed.contains("* solo") && listed.contains("\"host\": \"10.0.0.6\""),
        "{listed}"
    );
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.stderr.starts_with("context other not found"),
        "{}",
        unknown.stderr
    );
    let file = std::fs::read_to_string(hub.home().join(".dispatch/config.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(
        file,
        json!({"current": "solo", "contexts": {"solo": {"host": "10.0.0.5", "port": 8080}}})
    );
}

#[tokio::test]
async fn every_shell_gets_its_completion() {
    let hub = FakeHub::start().await;

    for shell in ["bash", "zsh", "fish"] {
        let ended = hub.run_with(&["completion", shell], &[]).await;
        assert_eq!(ended.code, 0, "{shell}: {}", ended.stderr);
        assert!(ended.stdout.contains("eventdrivertype"), "{shell}");
    }
    assert_eq!(hub.run_with(&["completion", "tcsh"], &[]).await.code, 1);
}
