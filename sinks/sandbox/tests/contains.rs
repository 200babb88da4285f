//! What a program in a cage can and cannot do: the real executable, with bubblewrap and without.
// Helpers outside #[test] functions fail by panicking, as a test does.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use dispatch_contract::Bounds;
use dispatch_sink_sandbox::{Cage, Network, Sandbox, Wanted, bubblewrap};

const EXECUTABLE: &str = env!("CARGO_BIN_EXE_dispatch-sandbox");
const PATIENCE: Duration = Duration::from_secs(20);

struct Stage {
    sandbox: Sandbox,
    folder: tempfile::TempDir,
}

/// With bubblewrap, where it is, and without.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn stages() -> Vec<Stage> {
    let with = bubblewrap();
    if with.is_none() {
        assert_ne!(
            std::env::var("CI").as_deref(),
            Ok("true"),
            "bubblewrap is missing"
        );
        eprintln!("SKIPPED: no `bwrap` on PATH");
    }
    let mut stages = vec![stage(None)];
    stages.extend(with.map(|path| stage(Some(path))));
    stages
}

fn stage(bubblewrap: Option<PathBuf>) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(&source).unwrap();
    std::fs::write(source.join("mine"), "mine").unwrap();
    std::fs::write(folder.path().join("others"), "others").unwrap();
    let engine = folder.path().join("engine");
    let sandbox = Sandbox::open(&engine, Path::new(EXECUTABLE), bubblewrap).unwrap();
    Stage { sandbox, folder }
}

impl Stage {
    fn source(&self) -> PathBuf {
        self.folder.path().join("source")
    }

    fn has(&self, protection: &str) -> bool {
        self.sandbox
            .protections()
            .in_force
            .iter()
            .any(|p| p == protection)
    }

    fn cage(&self, change: impl FnOnce(&mut Wanted<'_>)) -> Cage {
        let mut wanted = Wanted {
            bounds: Bounds::default(),
            program: Path::new("/bin/sh"),
            read: vec![self.source()],
            socket: None,
            ports: None,
            address_space: false,
        };
        change(&mut wanted);
        self.sandbox.cage(&wanted).unwrap()
    }

    fn command(&self, cage: &Cage, script: &str) -> Command {
        let mut command = cage.command(Path::new("/bin/bash")).unwrap();
        command
            .args(["-c", script])
            .current_dir(self.source())
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("SCRATCH", cage.scratch())
            .env("OUTSIDE", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs a script in a cage of its own; its standard output, or its standard error when it fails.
    fn run(&self, script: &str) -> Result<String, String> {
        let cage = self.cage(|_| {});
        said(self.command(&cage, script).output().unwrap())
    }
}

fn said(output: Output) -> Result<String, String> {
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Processes that have this word in their environment.
fn marked(word: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| std::fs::read(entry.path().join("environ")).ok())
        .filter(|environ| environ.split(|b| *b == 0).any(|v| v == word.as_bytes()))
        .count()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn only_what_was_named_is_seen_and_only_the_scratch_folder_is_written() {
    for stage in stages() {
        assert_eq!(stage.run("cat mine").unwrap(), "mine");
        assert_eq!(stage.run("echo 1 > $SCRATCH/x && cat $SCRATCH/x").unwrap(), "1");
        for script in [
            "cat /etc/shadow",
            "cat $OUTSIDE/others",
            "ls $OUTSIDE/engine",
            "ls /root",
            "cat /proc/1/environ",
            "echo 1 > $OUTSIDE/source/new",
            "echo 1 > /usr/new",
            "rm /bin/sh",
        ] {
            let refused = stage.run(script).unwrap_err();
            let words = ["denied", "No such file", "Read-only"];
            assert!(words.iter().any(|w| refused.contains(w)), "{script}: {refused}");
        }
    }
}

#[test]
fn nobody_is_root_and_nobody_gets_more_than_he_has() {
    for stage in stages() {
        if stage.has("user") {
            assert_ne!(stage.run("id -u").unwrap(), "0");
        }
        let status = stage
            .run("while read -r line; do echo \"$line\"; done < /proc/self/status")
            .unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        assert_eq!(field("NoNewPrivs:"), "1");
        assert_eq!(field("Seccomp:"), "2");
        for script in [
            "unshare -U true",
            "unshare -m true",
            "mount -t tmpfs x $SCRATCH",
            "chroot / true",
            "mknod $SCRATCH/d b 254 0",
            "date -s 2000-01-01",
        ] {
            assert!(stage.run(script).is_err(), "{script}");
        }
    }
}

#[test]
fn the_network_is_reached_by_those_that_may_and_ports_by_those_that_need_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = other.local_addr().unwrap().port();
    let connect = |port: u16| format!("echo > /dev/tcp/127.0.0.1/{port}");
    for stage in stages() {
        assert!(stage.run(&connect(port)).is_err());
        assert!(stage.run("echo > /dev/udp/127.0.0.1/9").is_err());

        let open = stage.cage(|w| w.bounds.network = true);
        said(stage.command(&open, &connect(port)).output().unwrap()).unwrap();

        let ports = stage.cage(|w| {
            w.ports = Some(Network::Ports {
                listen: vec![],
                connect: vec![port],
            });
        });
        said(stage.command(&ports, &connect(port)).output().unwrap()).unwrap();
        for script in [connect(closed), "echo > /dev/udp/127.0.0.1/9".to_owned()] {
            assert!(
                said(stage.command(&ports, &script).output().unwrap()).is_err(),
                "{script}"
            );
        }
    }
}

#[test]
fn what_left_its_group_and_its_parents_ends_with_the_cage() {
    for (n, stage) in stages().into_iter().enumerate() {
        let marker = format!("MARK=left-{}-{n}", std::process::id());
        let cage = stage.cage(|_| {});
        let mut child = stage
            .command(
                &cage,
                "(setsid sleep 600 & setsid setsid sleep 600 &) ; sleep 600",
            )
            .env("MARK", marker.strip_prefix("MARK=").unwrap())
            .spawn()
            .unwrap();
        eventually("they run", || marked(&marker) >= 3);

        child.kill().unwrap();
        child.wait().unwrap();
        drop(cage);

        eventually("they are gone", || marked(&marker) == 0);
    }
}

#[test]
fn forks_and_memory_end_at_the_bound_and_the_kernels_verdict_is_told() {
    for stage in stages() {
        if !stage.has("cgroups") {
            continue;
        }
        let cage = stage.cage(|w| {
            w.bounds.processes = 10;
            w.bounds.memory = 64 << 20;
        });
        let many = "for i in $(seq 30); do sleep 5 & done; wait";
        let forked = said(run_for(stage.command(&cage, many)));
        assert!(forked.is_err(), "{forked:?}");
        assert_eq!(cage.verdict(), None);

        run_for(stage.command(&cage, "x=$(head -c 300M /dev/zero | tr '\\0' x); echo ${#x}"));

        let verdict = cage.verdict().unwrap();
        assert!(verdict.contains("64 MiB"), "{verdict}");
    }
}

/// Lets a command have a while.
fn run_for(mut command: Command) -> Output {
    let mut child: Child = command.spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap_or_default();
    child.wait_with_output().unwrap()
}

#[test]
fn a_policy_that_cannot_be_applied_runs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("ran");
    let policy = serde_json::json!({
        "cgroups": ["/no/such/cgroup"], "read": [], "network": "none",
        "scratch": {"path": "/tmp", "bytes": 1}, "resources": {"file-size": 1, "open-files": 10},
    });
    for policy in [policy.to_string(), "{}".to_owned(), "nonsense".to_owned()] {
        let output = Command::new(EXECUTABLE)
            .args(["--policy", &policy, "--", "/bin/touch"])
            .arg(&mark)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(126));
        assert!(!mark.exists());
    }
}

#[test]
fn nothing_of_a_cage_is_left_on_the_machine() {
    for stage in stages() {
        let cage = stage.cage(|_| {});
        let scratch = stage.folder.path().join("engine/scratch");
        said(stage.command(&cage, "true").output().unwrap()).unwrap();

        drop(cage);

        assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 0);
        let left = stage.run("true");
        assert!(left.is_ok());
    }
}
