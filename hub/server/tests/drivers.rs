//! What drivers are promised: a process that runs, a door for their events, a checkpoint that goes with them.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use dispatch_fixtures::target::Target;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Hub, answer, event, until};

const TYPES: &str = "/v1/event/drivertypes";
const DRIVERS: &str = "/v1/event/drivers";

/// A program in the folder; `HERE` is the folder.
fn program(folder: &Path, body: &str) -> PathBuf {
    let (aside, path) = (folder.join("aside"), folder.join("program"));
    std::fs::write(&aside, format!("#!/bin/sh\nHERE={}\n{body}\n", folder.display())).unwrap();
    std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(aside, &path).unwrap();
    path
}

/// Creates the driver `d` that is this program.
async fn create(hub: &Hub, program: &Path) -> Value {
    let (status, _) = hub
        .post_json(TYPES, &json!({"name": "ticker", "image": program}))
        .await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, driver) = hub
        .post_json(DRIVERS, &json!({"name": "d", "type": "ticker"}))
        .await;
    assert_eq!(status, StatusCode::CREATED, "{driver}");
    driver
}

/// A driver that tells the test its token and then does nothing: the test speaks for it.
struct Spoken {
    hub: Hub,
    folder: tempfile::TempDir,
    door: String,
    token: String,
}

impl Spoken {
    async fn start() -> Self {
        let (hub, folder) = (Hub::start().await, tempfile::tempdir().unwrap());
        let path = program(
            folder.path(),
            "printf %s $DISPATCH_TOKEN > $HERE/token; exec sleep 1000",
        );
        let driver = create(&hub, &path).await;
        let door = format!("/v1/sink/{}", driver["id"].as_str().unwrap());
        Self::with(hub, folder, door).await
    }

    async fn with(hub: Hub, folder: tempfile::TempDir, door: String) -> Self {
        let read = || std::fs::read_to_string(folder.path().join("token")).unwrap_or_default();
        until("a token", || read().len() == 64).await;
        let token = read();
        Self {
            hub,
            folder,
            door,
            token,
        }
    }

    async fn restart(self) -> Self {
        std::fs::remove_file(self.folder.path().join("token")).unwrap();
        Self::with(self.hub.restart().await, self.folder, self.door).await
    }

    async fn emit(
        &self,
        token: Option<&str>,
        checkpoint: Option<&str>,
        events: &Value,
    ) -> (StatusCode, Value) {
        let request = self
            .hub
            .post(&self.door)
            .header("content-type", "application/cloudevents-batch+json");
        let request = request.body(events.to_string());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let request = match checkpoint {
            Some(checkpoint) => request.header("dispatch-checkpoint", checkpoint),
            None => request,
        };
        answer(request.send().await.unwrap()).await
    }

    async fn checkpoint(&self, token: &str) -> (StatusCode, Value) {
        let request = self
            .hub
            .client
            .get(self.hub.url(&format!("{}/checkpoint", self.door)));
        answer(request.bearer_auth(token).send().await.unwrap()).await
    }
}

#[tokio::test]
async fn any_program_can_be_a_driver() {
    let (hub, target) = (Hub::start().await, Target::start().await.unwrap());
    hub.subscribe("to-target", "ticker.tick", &target.url(), json!({}))
        .await;
    let folder = tempfile::tempdir().unwrap();
    let path = program(
        folder.path(),
        r#"exec python3 - <<'END'
import os, time, urllib.request
for n in range(1000):
    headers = {"ce-specversion": "1.0", "ce-id": str(n), "ce-source": "/ticker", "ce-type": "ticker.tick"}
    urllib.request.urlopen(urllib.request.Request(os.environ["K_SINK"], b"", headers, method="POST"))
    time.sleep(0.05)
END"#,
    );

    create(&hub, &path).await;

    until("three ticks", || target.accepted().len() >= 3).await;
    let driver = hub
        .until(&format!("{DRIVERS}/d"), |d| d["status"] == "READY")
        .await;
    assert_eq!(
        (&driver["type"], &driver["kind"]),
        (&json!("ticker"), &json!("Driver"))
    );
    assert!(driver["created-time"].as_i64().unwrap() > 0);
    hub.stop().await;
}

#[tokio::test]
async fn a_checkpoint_is_stored_with_its_events_and_is_there_after_a_restart() {
    let driver = Spoken::start().await;
    let token = driver.token.clone();
    assert_eq!(driver.checkpoint(&token).await.0, StatusCode::NO_CONTENT);

    let taken = driver
        .emit(
            Some(&token),
            Some("cGFnZSA3"),
            &json!([event("a", "t"), event("b", "t")]),
        )
        .await;
    let refused = driver
        .emit(
            Some(&token),
            Some("cGFnZSA4"),
            &json!([event("c", "t"), event("", "t")]),
        )
        .await;

    assert_eq!(
        taken,
        (StatusCode::ACCEPTED, json!({"accepted": 2, "duplicates": 0}))
    );
    assert_eq!(refused.0, StatusCode::BAD_REQUEST);
    assert!(
        refused.1["message"]
            .as_str()
            .unwrap()
            .contains("event 1 of the batch: id"),
        "{refused:?}"
    );
    assert_eq!(driver.checkpoint(&token).await, (StatusCode::OK, json!("page 7")));

    let driver = driver.restart().await;

    assert_ne!(driver.token, token);
    assert_eq!(
        driver.checkpoint(&driver.token).await,
        (StatusCode::OK, json!("page 7"))
    );
    let alone = driver
        .emit(Some(&driver.token), Some("cGFnZSA5"), &json!([]))
        .await;
    assert_eq!(alone.0, StatusCode::ACCEPTED);
    assert_eq!(
        driver.checkpoint(&driver.token).await,
        (StatusCode::OK, json!("page 9"))
    );
    driver.hub.stop().await;
}

#[tokio::test]
async fn only_the_driver_itself_may_speak_of_its_checkpoint() {
    let driver = Spoken::start().await;
    let denied = (
        StatusCode::UNAUTHORIZED,
        json!({"code": 401, "message": "token not recognized"}),
    );
    let one = json!([event("a", "t")]);

    assert_eq!(driver.emit(Some("wrong"), None, &one).await, denied);
    assert_eq!(driver.emit(None, Some("cGFnZSA3"), &one).await, denied);
    assert_eq!(driver.checkpoint("wrong").await, denied);
    let bad = driver.emit(Some(&driver.token), Some("page 7"), &one).await;
    assert_eq!(bad.0, StatusCode::BAD_REQUEST);
    assert!(driver.hub.get("/v1/events").await.as_array().unwrap().is_empty());
    let plain = driver.emit(None, None, &one).await;
    assert_eq!(plain.0, StatusCode::ACCEPTED, "a plain source needs no token");
    let nobody = driver
        .hub
        .post_json(&format!("/v1/sink/{}", uuid::Uuid::nil()), &event("b", "t"))
        .await;
    assert_eq!(nobody.0, StatusCode::NOT_FOUND);
    driver.hub.stop().await;
}

#[tokio::test]
async fn a_driver_can_say_how_it_is() {
    let driver = Spoken::start().await;
    let say = async |body: Value| {
        let request = driver
            .hub
            .client
            .put(driver.hub.url(&format!("{}/health", driver.door)));
        request
            .bearer_auth(&driver.token)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
    };
    let one = format!("{DRIVERS}/d");

    assert_eq!(
        say(json!({"status": "ERROR", "reason": "no login"})).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(driver.hub.get(&one).await["reason"][0], "no login");
    assert_eq!(say(json!({"status": "READY"})).await, StatusCode::NO_CONTENT);
    assert_eq!(driver.hub.get(&one).await["status"], "READY");
    assert_eq!(say(json!({"status": "DELETING"})).await, StatusCode::BAD_REQUEST);
    driver.hub.stop().await;
}

#[tokio::test]
async fn types_and_drivers_are_created_changed_and_deleted_with_the_originals_answers() {
    let (hub, folder) = (Hub::start().await, tempfile::tempdir().unwrap());
    let path = program(folder.path(), "exec sleep 1000");
    let send = async |method: &str, path: &str, body: Value| {
        let request = hub.client.request(method.parse().unwrap(), hub.url(path));
        answer(request.json(&body).send().await.unwrap()).await
    };

    let unknown = hub
        .post_json(DRIVERS, &json!({"name": "d", "type": "ticker"}))
        .await;
    let message = "bad request when processing event driver d: driver type ticker does not exist";
    assert_eq!(
        unknown,
        (StatusCode::BAD_REQUEST, json!({"code": 400, "message": message}))
    );

    let created = create(&hub, &path).await;
    let again = hub
        .post_json(DRIVERS, &json!({"name": "d", "type": "ticker"}))
        .await;
    assert_eq!(again.1["message"], "event driver d already exists");
    let changed = json!({"name": "d", "type": "ticker", "config": [{"key": "seconds", "value": 2}]});
    let (status, updated) = send("PUT", &format!("{DRIVERS}/d"), changed).await;
    assert_eq!((status, &updated["id"]), (StatusCode::OK, &created["id"]));
    assert_eq!(updated["config"], json!([{"key": "seconds", "value": "2"}]));
    assert_eq!(hub.get(DRIVERS).await.as_array().unwrap().len(), 1);
    let (status, deleted) = send("DELETE", &format!("{DRIVERS}/d"), json!({})).await;
    assert_eq!((status, &deleted["id"]), (StatusCode::OK, &created["id"]));
    let (status, gone) = send("GET", &format!("{DRIVERS}/d"), json!({})).await;
    assert_eq!(
        (status, &gone["message"]),
        (StatusCode::NOT_FOUND, &json!("event driver d not found"))
    );
    let door = hub
        .post_json(
            &format!("/v1/sink/{}", created["id"].as_str().unwrap()),
            &event("a", "t"),
        )
        .await;
    assert_eq!(door.0, StatusCode::NOT_FOUND);

    let (status, driver_type) = send(
        "PUT",
        &format!("{TYPES}/ticker"),
        json!({"name": "ticker", "image": "cron"}),
    )
    .await;
    assert_eq!((status, &driver_type["image"]), (StatusCode::OK, &json!("cron")));
    assert_eq!(
        send("DELETE", &format!("{TYPES}/ticker"), json!({})).await.0,
        StatusCode::OK
    );
    assert_eq!(hub.get(TYPES).await, json!([]));
    hub.stop().await;
}

#[tokio::test]
async fn a_token_is_good_for_its_own_driver_only() {
    let one = Spoken::start().await;
    let body = json!({"name": "other", "type": "ticker"});
    std::fs::remove_file(one.folder.path().join("token")).unwrap();
    let (status, other) = one.hub.post_json(DRIVERS, &body).await;
    assert_eq!(status, StatusCode::CREATED);
    let door = format!("/v1/sink/{}", other["id"].as_str().unwrap());

    let as_other = Spoken { door, ..one };
    let events = json!([event("a", "t")]);

    let token = as_other.token.clone();
    assert_eq!(
        as_other.emit(Some(&token), None, &events).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(as_other.checkpoint(&token).await.0, StatusCode::UNAUTHORIZED);
    as_other.hub.stop().await;
}

#[tokio::test]
async fn a_driver_is_paused_resumed_and_restarted_and_stays_paused_over_a_restart_of_the_hub() {
    let driver = Spoken::start().await;
    let tell = async |hub: &Hub, what: &str| hub.post_json(&format!("{DRIVERS}/d/{what}"), &json!({})).await;
    let one = format!("{DRIVERS}/d");
    driver
        .emit(Some(&driver.token), Some("cGFnZSA3"), &json!([event("a", "t")]))
        .await;

    let (status, said) = tell(&driver.hub, "pause").await;
    assert_eq!((status, &said["paused"]), (StatusCode::OK, &json!(true)));
    let old = driver.checkpoint(&driver.token).await.0;
    assert_eq!(old, StatusCode::UNAUTHORIZED, "its process has ended");
    let hub = driver.hub.restart().await;
    hub.until(&one, |d| d["status"] == "PAUSED").await;
    assert_eq!(tell(&hub, "restart").await.0, StatusCode::CONFLICT);

    assert_eq!(tell(&hub, "resume").await.0, StatusCode::OK);
    hub.until(&one, |d| d["status"] == "READY").await;
    assert_eq!(tell(&hub, "restart").await.0, StatusCode::OK);
    let shown = hub
        .until(&one, |d| {
            d["supervision"]["restarts"] == 1 && d["status"] == "READY"
        })
        .await;
    assert!(shown["paused"].is_null(), "{shown}");
    assert_eq!(
        hub.post_json(&format!("{DRIVERS}/nobody/pause"), &json!({}))
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    hub.stop().await;
}

#[tokio::test]
async fn how_old_a_drivers_last_event_and_checkpoint_are_is_shown() {
    let driver = Spoken::start().await;
    let mut late = event("a", "t");
    late["time"] = json!((chrono::Utc::now() - chrono::TimeDelta::seconds(100)).to_rfc3339());

    let taken = driver
        .emit(Some(&driver.token), Some("cGFnZSA3"), &json!([late]))
        .await;

    assert_eq!(taken.0, StatusCode::ACCEPTED);
    let shown = driver.hub.get(&format!("{DRIVERS}/d")).await;
    let age = |field: &str| shown["supervision"][field].as_u64().unwrap();
    assert!((100..160).contains(&age("lag")), "{shown}");
    assert!(age("lastEventAge") < 60 && age("checkpointAge") < 60, "{shown}");
    driver.hub.stop().await;
}

#[tokio::test]
async fn a_hub_says_what_the_data_of_a_drivers_events_looks_like_if_its_program_knows() {
    // Given a program that knows one type, one that knows none, and one that is not on the SDK
    let (hub, folder) = (Hub::start().await, tempfile::tempdir().unwrap());
    let knows = "case \"$1\" in --schema) echo a.made;; --schema=a.made) echo '{\"type\": \"object\"}';; \
        *) echo \"--schema: no such event\" >&2; exit 1;; esac";
    let none = "echo 'there is no setting --schema; allowed are none' >&2; exit 1";
    for (name, file, body) in [
        ("knows", "dispatch-driver-knows", knows),
        ("none", "dispatch-driver-none", none),
        ("foreign", "foreign.sh", "touch $HERE/began; sleep 1000"),
    ] {
        let path = folder.path().join(file);
        std::fs::rename(program(folder.path(), body), &path).unwrap();
        let (status, said) = hub.post_json(TYPES, &json!({"name": name, "image": path})).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
    }
    let asked = async |path: &str| {
        let response = hub.client.get(hub.url(&format!("{TYPES}/{path}")));
        answer(response.send().await.unwrap()).await
    };

    // When it is asked for what there is and what there is not
    assert_eq!(asked("knows/schemas").await, (StatusCode::OK, json!(["a.made"])));
    let schema = asked("knows/schemas/a.made").await;
    assert_eq!(schema, (StatusCode::OK, json!({"type": "object"})));
    for (path, why) in [
        (
            "knows/schemas/b.made",
            "no schema of driver type knows: --schema: no such event",
        ),
        (
            "none/schemas/a.made",
            "no schema of driver type none: its program has none",
        ),
        (
            "foreign/schemas",
            "no schema of driver type foreign: its program has none",
        ),
        ("nobody/schemas", "driver type nobody does not exist"),
    ] {
        let (status, said) = asked(path).await;
        assert_eq!(
            (status, &said["message"]),
            (StatusCode::NOT_FOUND, &json!(why)),
            "{path}"
        );
    }

    // Then no program was started that might have begun to work
    assert!(!folder.path().join("began").exists());
    hub.stop().await;
}
