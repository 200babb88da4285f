//! Lists as tables, JSON and YAML.

use serde_json::{Value, json};

use crate::hub::FakeHub;

#[tokio::test]
async fn every_kind_has_the_original_s_columns() {
    let hub = FakeHub::start().await;
    let created = 1_544_253_384;
    hub.answers(
        "GET /v1/baseimage",
        200,
        json!([{"name": "python3-base", "dockerUrl": "dispatchframework/python3-base:0.0.13", "status": "READY", "createdTime": created}]),
    );
    hub.answers(
        "GET /v1/image",
        200,
        json!([{"name": "python3", "baseImageName": "python3-base", "status": "CREATING", "createdTime": created}]),
    );
    hub.answers("GET /v1/function", 200, json!([]));
    hub.answers(
        "GET /v1/event/drivertypes",
        200,
        json!([{"name": "cron", "image": "i", "expose": false}]),
    );

    let table = [
        (
            "get base-images",
            vec![
                "      NAME     |                  URL                  | STATUS |         CREATED DATE",
                "  python3-base | dispatchframework/python3-base:0.0.13 | READY  | Sat Dec  8 16:16:24 JST 2018",
            ],
        ),
        (
            "get images",
            vec![
                "   NAME   | URL |  BASEIMAGE   |  STATUS  |         CREATED DATE",
                "  python3 |     | python3-base | CREATING | Sat Dec  8 16:16:24 JST 2018",
            ],
        ),
        (
            "get functions",
            vec!["  NAME | FUNCTIONIMAGE | STATUS | CREATED DATE"],
        ),
        (
            "get eventdrivertypes",
            vec!["  NAME | IMAGE | EXPOSE", "  cron | i     | false"],
        ),
    ];
    for (line, expected) in table {
        let printed = hub.prints(&line.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "{line}");
    }
}

#[tokio::test]
async fn one_is_an_object_and_many_are_a_list_in_json() {
    let hub = FakeHub::start().await;
    hub.answers("GET /v1/image", 200, json!([]));
    hub.answers(
        "GET /v1/image/a",
        200,
        json!({"status": "READY", "name": "a", "tags": []}),
    );

    let none = hub.prints(&["get", "images", "-o", "json"]).await;
    let one = hub.prints(&["get", "image", "a", "--json"]).await;
    let yaml = hub.prints(&["get", "image", "a", "--output", "yaml"]).await;

    assert_eq!(none, "[]\n");
    assert_eq!(
        one,
        "{\n    \"name\": \"a\",\n    \"status\": \"READY\",\n    \"tags\": []\n}\n"
    );
    assert_eq!(yaml, "name: a\nstatus: READY\ntags: []\n");
}

#[tokio::test]
async fn secrets_are_hidden_until_all_is_asked_for() {
    let hub = FakeHub::start().await;
    let secret = json!({"id": "5", "name": "open-sesame", "secrets": {"password": "OpenSesame"}});
    hub.answers("GET /v1/secret", 200, json!([secret]));
    hub.answers("GET /v1/secret/open-sesame", 200, secret);

    let hidden = hub.prints(&["get", "secrets"]).await;
    let shown: Value =
        serde_json::from_str(&hub.prints(&["get", "secret", "open-sesame", "--all"]).await).unwrap();

    let expected = "Note: secret values are hidden, please use --all flag to get them\n\n  ID |    NAME     | CONTENT\n   5 | open-sesame | <hidden>\n";
    assert_eq!(hidden, expected);
    assert_eq!(shown["secrets"]["password"], "OpenSesame");
}

#[tokio::test]
async fn dead_letters_say_what_failed_and_how_often() {
    let hub = FakeHub::start().await;
    let letter = json!({"id": "7-a", "subscription": "s", "sequence": 7, "time": "2026-01-01T00:00:00Z", "reason": "answered 500",
        "attempts": 11, "failures": [], "event": {"specversion": "1.0", "id": "e", "type": "t", "source": "/s"}});
    hub.answers("GET /v1/deadletters", 200, json!([letter]));

    let printed = hub.prints(&["get", "deadletters", "--subscription", "s"]).await;

    let expected = [
        "  ID  | SUBSCRIPTION | EVENT TYPE | EVENT ID | ATTEMPTS |    REASON    |         TIME",
        "  7-a | s            | t          | e        |       11 | answered 500 | 2026-01-01T00:00:00Z",
    ];
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
    assert_eq!(hub.asked_once().line, "GET /v1/deadletters?subscription=s");
}
