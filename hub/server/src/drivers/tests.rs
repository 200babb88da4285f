//! What the supervisor promises, with shell scripts as drivers.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Instant;

use dispatch_schemas::{DriverType, Secret, SecretText};

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

struct Bench {
    folder: tempfile::TempDir,
    store: Store,
    drivers: Drivers,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let drivers = Drivers::with(
            store.clone(),
            Addresses::new(
                "127.0.0.1:8080".parse().unwrap(),
                "127.0.0.1:8081".parse().unwrap(),
                None,
            ),
            Caps {
                memory: 256 << 20,
                files: 99,
            },
            Places::in_folder(folder.path()),
            folder.path(),
            TaskTracker::new(),
        );
        Self {
            folder,
            store,
            drivers,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A shell script; `$HERE` is its folder.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        let text = format!("#!/bin/sh\nHERE={}\n{body}\n", self.folder.path().display());
        // Written aside and moved: a file that is open for writing cannot be run.
        let aside = self.path("aside");
        std::fs::write(&aside, text).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(aside, &path).unwrap();
        path
    }

    /// Registers a script as the type `t`.
    async fn register(&self, body: &str) {
        let image = self.script("program", body).display().to_string();
        let driver_type = DriverType {
            name: "t".to_owned(),
            image,
            ..DriverType::default()
        };
        self.store.create("dispatch", &driver_type).await.unwrap();
    }

    async fn create(&self, driver: Driver) -> Driver {
        self.drivers.create("dispatch", driver).await.unwrap()
    }

    async fn shown(&self) -> Driver {
        let driver = self.store.get("dispatch", "d").await.unwrap();
        self.drivers.shown(driver, Detail::Lines)
    }

    async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        let begin = Instant::now();
        while !holds().await {
            assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", self.shown().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn until_status(&self, status: Status) {
        self.until(status.as_str(), async || {
            self.shown().await.status == Some(status)
        })
        .await;
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What the script wrote there, once it has: READY may come before.
    async fn written(&self, name: &str) -> String {
        self.until(name, async || self.read(name).ends_with('\n')).await;
        self.read(name)
    }
}

fn driver(ty: &str) -> Driver {
    Driver {
        name: "d".to_owned(),
        ty: ty.to_owned(),
        ..Driver::default()
    }
}

fn alive(pid: &str) -> bool {
    assert!(!pid.trim().is_empty(), "a process without a number");
    // A killed process whose parent is gone may wait for init as a zombie: that is dead enough.
    let status = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[tokio::test]
async fn a_driver_that_ends_is_started_again_later_and_later_and_says_why() {
    let bench = Bench::new();
    bench
        .register("sleep 0.1; date +%s%N >> $HERE/starts; echo looking; echo 'no such host' >&2; exit 3")
        .await;

    assert_eq!(bench.create(driver("t")).await.status, Some(Status::Creating));

    let says_why = |shown: &Driver| {
        let reason = shown.reason.as_ref().and_then(|reason| reason.first());
        shown.status == Some(Status::Error)
            && reason.is_some_and(|reason| reason == "exited with code 3: no such host")
    };
    bench
        .until("three starts and why", async || {
            bench.read("starts").lines().count() >= 3 && says_why(&bench.shown().await)
        })
        .await;
    let starts: Vec<u64> = bench.read("starts").lines().map(|l| l.parse().unwrap()).collect();
    let (first, second) = (
        (starts[1] - starts[0]) / 1_000_000,
        (starts[2] - starts[1]) / 1_000_000,
    );
    // The wait, and the script's own 0.1 s.
    assert!(
        first >= 500 + 100 && second >= 1000 + 100,
        "{first} ms, {second} ms"
    );
    let shown = bench.shown().await;
    let reason = shown.reason.unwrap();
    assert_eq!(
        (shown.status, reason[0].as_str()),
        (Some(Status::Error), "exited with code 3: no such host")
    );
    assert!(reason[1..].contains(&"looking".to_owned()), "{reason:?}");
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_program_on_the_sdk_with_wrong_settings_is_not_started_again_soon() {
    let bench = Bench::new();
    bench.script(
        "dispatch-driver-x",
        "echo start >> $HERE/starts; echo '--host is required' >&2; exit 1",
    );

    bench.create(driver("x")).await;

    bench.until_status(Status::Error).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(bench.read("starts").lines().count(), 1);
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_deleted_driver_ends_with_everything_it_started() {
    let bench = Bench::new();
    bench
        .register("sleep 1000 & echo $! > $HERE/child; echo $$ > $HERE/pid; wait")
        .await;
    bench.create(driver("t")).await;
    bench.until_status(Status::Ready).await;
    let pid = bench.written("pid").await;
    let child = bench.read("child");
    assert!(alive(&pid) && alive(&child));

    bench.drivers.delete("dispatch", "d").await.unwrap();

    // A killed process takes the kernel a moment.
    bench
        .until("both are gone", async || !alive(&pid) && !alive(&child))
        .await;
    assert!(bench.drivers.slots().is_empty());
}

#[tokio::test]
async fn what_a_driver_leaves_behind_when_it_ends_is_killed() {
    let bench = Bench::new();
    bench.register("sleep 1000 & echo $! > $HERE/child; exit 0").await;

    bench.create(driver("t")).await;

    bench.until_status(Status::Error).await;
    let child = bench.read("child");
    // A killed process takes the kernel a moment.
    bench.until("it is gone", async || !alive(&child)).await;
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_driver_that_does_not_listen_is_killed_when_the_hub_stops() {
    let bench = Bench::new();
    bench
        .register("trap '' TERM; echo $$ > $HERE/pid; while :; do sleep 0.1; done")
        .await;
    bench.create(driver("t")).await;
    bench.until_status(Status::Ready).await;
    let pid = bench.written("pid").await;

    let begin = Instant::now();
    bench.drivers.stop().await;

    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    assert!(!alive(&pid));
}

#[tokio::test]
async fn a_driver_gets_its_settings_its_secrets_and_the_way_to_the_hub_and_nothing_else() {
    let bench = Bench::new();
    bench
        .register(
            r#"for a in "$@"; do echo "$a"; done > $HERE/args
            env > $HERE/env-aside; mv $HERE/env-aside $HERE/env; sleep 1000"#,
        )
        .await;
    let secret = Secret {
        name: "vc".to_owned(),
        secrets: [("pass-word".to_owned(), SecretText::new("a&<b>'$HOME"))].into(),
        ..Secret::default()
    };
    bench.store.create("dispatch", &secret).await.unwrap();
    let item = |key: &str, value: &str| dispatch_schemas::ConfigItem {
        key: key.to_owned(),
        value: value.to_owned(),
    };

    let created = bench
        .create(Driver {
            config: vec![item("cron", "0/10 * * * *"), item("debug", "")],
            secrets: vec!["vc".to_owned()],
            ..driver("t")
        })
        .await;

    bench.until_status(Status::Ready).await;
    let env = bench.written("env").await;
    let args = bench.read("args");
    assert_eq!(
        args,
        "--cron=0/10 * * * *\n--debug\n--dispatch-api-endpoint=127.0.0.1:8080\n"
    );
    let has = |line: &str| env.lines().any(|l| l == line);
    assert!(has("PASS_WORD=a&<b>'$HOME"), "{env}");
    assert!(
        has(&format!("K_SINK=http://127.0.0.1:8080/v1/sink/{}", created.id)),
        "{env}"
    );
    let slot = bench.drivers.slot(created.id).unwrap();
    let token = env
        .lines()
        .find_map(|l| l.strip_prefix("DISPATCH_TOKEN="))
        .unwrap();
    assert!(slot.admits(token), "{env}");
    assert!(!env.contains("CARGO"), "{env}");
    assert_eq!(bench.drivers.by_token(token).unwrap().id, created.id);
    assert!(bench.drivers.by_token("").is_none());
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_change_replaces_the_process_and_there_are_never_two() {
    let bench = Bench::new();
    bench
        .register(
            r#"trap 'sleep 0.2; rmdir $HERE/lock; exit 0' TERM
            mkdir $HERE/lock || echo twice >> $HERE/wrong
            echo "$1" >> $HERE/starts; while :; do sleep 0.02; done"#,
        )
        .await;
    let with = |value: &str| Driver {
        config: vec![dispatch_schemas::ConfigItem {
            key: "n".to_owned(),
            value: value.to_owned(),
        }],
        ..driver("t")
    };
    bench.create(with("1")).await;
    bench
        .until("the first", async || bench.read("starts").contains("--n=1"))
        .await;

    for n in ["2", "3", "4"] {
        bench.drivers.update("dispatch", "d", with(n)).await.unwrap();
    }

    bench
        .until("the last", async || bench.read("starts").contains("--n=4"))
        .await;
    assert_eq!(bench.read("wrong"), "");
    bench.drivers.stop().await;
}

#[tokio::test]
async fn what_cannot_start_says_what_is_missing_and_starts_when_it_is_there() {
    let bench = Bench::new();
    bench.register("sleep 1000").await;
    bench
        .create(Driver {
            secrets: vec!["later".to_owned()],
            ..driver("t")
        })
        .await;
    bench.until_status(Status::Error).await;
    assert_eq!(bench.shown().await.reason.unwrap()[0], "secret later not found");

    let secret = Secret {
        name: "later".to_owned(),
        ..Secret::default()
    };
    bench.store.create("dispatch", &secret).await.unwrap();

    bench.until_status(Status::Ready).await;
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_type_must_exist_but_its_program_may_be_missing() {
    let bench = Bench::new();
    let error = bench.drivers.create("dispatch", driver("t")).await.unwrap_err();
    let expected = "bad request when processing event driver d: driver type t does not exist";
    assert_eq!((error.status.as_u16(), error.message.as_str()), (400, expected));

    let driver_type = DriverType {
        name: "t".to_owned(),
        image: "nowhere".to_owned(),
        ..DriverType::default()
    };
    bench.store.create("dispatch", &driver_type).await.unwrap();
    bench.create(driver("t")).await;

    bench.until_status(Status::Error).await;
    let reason = bench.shown().await.reason.unwrap().remove(0);
    let expected = format!(
        "there is no executable dispatch-driver-nowhere in {}",
        bench.folder.path().display()
    );
    assert_eq!(reason, expected);
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_word_to_the_hub_makes_a_driver_ready_at_once_and_its_own_word_counts() {
    let bench = Bench::new();
    bench.register("sleep 1000").await;
    let id = bench.create(driver("t")).await.id;

    // A stall of this machine may spoil one try; without the word each would take a second.
    let soon = Duration::from_millis(900);
    let mut took = Vec::new();
    for restarts in 0..5 {
        if restarts > 0 {
            bench.drivers.restart("dispatch", "d").await.unwrap();
        }
        let begin = Instant::now();
        bench.drivers.contacted(id);
        bench
            .until("this process is READY", async || {
                let shown = bench.shown().await;
                let process = shown.supervision.map(|known| known.restarts);
                (shown.status, process) == (Some(Status::Ready), Some(restarts))
            })
            .await;
        let elapsed = begin.elapsed();
        took.push(elapsed);
        if elapsed < soon {
            break;
        }
    }
    assert!(took.iter().any(|took| *took < soon), "{took:?}");

    bench.drivers.reported(id, Some("no login"));
    let shown = bench.shown().await;
    assert_eq!(
        (shown.status, shown.reason.unwrap()[0].as_str()),
        (Some(Status::Error), "no login")
    );
    bench.drivers.reported(id, None);
    assert_eq!(bench.shown().await.status, Some(Status::Ready));
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_schedule_shows_its_next_ticks_and_wrong_settings_are_refused_in_the_programs_words() {
    let bench = Bench::new();
    bench.script("dispatch-driver-cron", r#"case "$*" in *wrong*) echo '--cron: "wrong" is no cron pattern' >&2; exit 1;; *--next=3) echo a; echo b; echo c;; *) sleep 1000;; esac"#);
    let cron = |value: &str| Driver {
        config: vec![dispatch_schemas::ConfigItem {
            key: "cron".to_owned(),
            value: value.to_owned(),
        }],
        ..driver("cron")
    };

    let refused = bench.drivers.create("dispatch", cron("wrong")).await.unwrap_err();
    let created = bench.create(cron("* * * * *")).await;

    assert_eq!(refused.status.as_u16(), 400);
    assert!(
        refused.message.ends_with(r#"--cron: "wrong" is no cron pattern"#),
        "{}",
        refused.message
    );
    assert_eq!(created.next_ticks.unwrap(), ["a", "b", "c"]);
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_token_is_new_with_each_start_and_the_one_before_is_refused() {
    let bench = Bench::new();
    bench
        .register("echo $DISPATCH_TOKEN >> $HERE/tokens; [ $(wc -l < $HERE/tokens) -ge 2 ] || exit 3; exec sleep 1000")
        .await;
    let id = bench.create(driver("t")).await.id;

    bench
        .until("two starts", async || bench.read("tokens").lines().count() == 2)
        .await;

    let tokens = bench.read("tokens");
    let tokens: Vec<&str> = tokens.lines().collect();
    assert!(bench.drivers.admits(id, tokens[1]));
    assert!(!bench.drivers.admits(id, tokens[0]));
    assert!(bench.drivers.by_token(tokens[0]).is_none());
    assert_eq!(bench.shown().await.supervision.unwrap().restarts, 1);
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_paused_driver_does_not_run_until_it_is_resumed() {
    let bench = Bench::new();
    bench
        .register("echo start >> $HERE/starts; echo $$ > $HERE/pid; exec sleep 1000")
        .await;
    bench.create(driver("t")).await;
    bench.until_status(Status::Ready).await;
    let pid = bench.written("pid").await;

    let paused = bench.drivers.pause("dispatch", "d").await.unwrap();
    assert!(paused.paused && !alive(&pid));
    bench.until_status(Status::Paused).await;
    let refused = bench.drivers.restart("dispatch", "d").await.unwrap_err();
    assert_eq!(refused.status.as_u16(), 409);
    bench.drivers.start_all().await;
    bench.until_status(Status::Paused).await;
    bench.drivers.update("dispatch", "d", driver("t")).await.unwrap();
    bench.until_status(Status::Paused).await;
    assert_eq!(bench.read("starts").lines().count(), 1);

    bench.drivers.resume("dispatch", "d").await.unwrap();
    bench.until_status(Status::Ready).await;
    bench
        .until("a second start", async || {
            bench.read("starts").lines().count() == 2
        })
        .await;
    bench.drivers.restart("dispatch", "d").await.unwrap();
    bench
        .until("a third start", async || {
            bench.read("starts").lines().count() == 3
        })
        .await;
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_changed_secret_reaches_the_driver() {
    let bench = Bench::new();
    bench
        .register("echo $PASSWORD >> $HERE/seen; exec sleep 1000")
        .await;
    let secret = |value: &str| Secret {
        name: "s".to_owned(),
        secrets: [("password".to_owned(), SecretText::new(value))].into(),
        ..Secret::default()
    };
    bench.store.create("dispatch", &secret("old")).await.unwrap();
    let with_secret = Driver {
        secrets: vec!["s".to_owned()],
        ..driver("t")
    };
    bench.create(with_secret).await;
    bench
        .until("the old one", async || bench.read("seen") == "old\n")
        .await;

    bench.store.update("dispatch", "s", secret("new")).await.unwrap();
    bench.drivers.secret_changed("dispatch", "s").await.unwrap();
    bench.drivers.secret_changed("dispatch", "other").await.unwrap();

    bench
        .until("the new one", async || bench.read("seen") == "old\nnew\n")
        .await;
    bench.drivers.stop().await;
}

#[tokio::test]
async fn a_driver_has_no_more_memory_and_files_than_it_may() {
    let bench = Bench::new();
    bench
        .register(
            r#"while [ "$(ulimit -n)" != 99 ]; do sleep 0.02; done
            python3 -c 'bytearray(1 << 30)' 2> $HERE/python || echo ended > $HERE/ended; exec sleep 1000"#,
        )
        .await;

    bench.create(driver("t")).await;

    bench
        .until("an end", async || bench.read("ended") == "ended\n")
        .await;
    assert!(
        bench.read("python").contains("MemoryError"),
        "{}",
        bench.read("python")
    );
    bench.drivers.stop().await;
}
