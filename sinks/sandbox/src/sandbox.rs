//! What there is to contain functions with, found out once; the cages of workers come from it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dispatch_contract::Bounds;
use rustix::process::geteuid;

use crate::cage::Cage;
use crate::cgroup::Cgroups;
use crate::machine::Machine;
use crate::policy::{Network, Policy, Resources, Scratch};
use crate::protections::Protections;

/// Users nobody else has: beyond those of people, of services and of containers.
const FIRST_USER: u32 = 1_900_000_000;
const USERS: u32 = 1 << 20;
/// How long a trial may take.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);
/// What is in the sandbox beside the worker: bubblewrap outside and inside.
const OF_BUBBLEWRAP: u32 = 2;

/// What every program may read: those that run, and what their libraries look at.
const RUNTIME: &[&str] = &[
    "/bin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/sbin",
    "/usr",
    "/sys/devices/system/cpu",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/clojure",
    "/etc/debian_version",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/java-8-openjdk",
    "/etc/java-11-openjdk",
    "/etc/java-17-openjdk",
    "/etc/java-21-openjdk",
    "/etc/java-25-openjdk",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/maven",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
];

/// What contains the functions of an engine.
#[derive(Debug)]
pub struct Sandbox {
    executable: PathBuf,
    bubblewrap: Option<PathBuf>,
    machine: Machine,
    own_users: bool,
    cgroups: Option<Arc<Cgroups>>,
    protections: Protections,
    /// Workers' scratch folders, without bubblewrap.
    scratch: PathBuf,
    next: AtomicU32,
}

/// What a worker is to have.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// What it may use.
    pub bounds: Bounds,
    /// The program it runs: what was installed with it may be read as well.
    pub program: &'a Path,
    /// What else it may read.
    pub read: Vec<PathBuf>,
    /// The socket it is met at.
    pub socket: Option<&'a Path>,
    /// What of the network it needs to speak with the engine.
    pub ports: Option<Network>,
    /// Bytes of address space, where its memory is not counted otherwise.
    pub address_space: bool,
}

impl Sandbox {
    /// Looks what there is, by trying. `engine` is a folder of the engine's own; `Err` when `executable` does not
    /// work.
    pub fn open(engine: &Path, executable: &Path, bubblewrap: Option<PathBuf>) -> Result<Self, String> {
        let scratch = engine.join("scratch");
        remade(&scratch).map_err(|error| format!("{}: {error}", scratch.display()))?;
        let machine = probe(executable)?;
        let own_users = geteuid().is_root();
        let cgroups = Cgroups::open(engine);
        let mut sandbox = Self {
            executable: executable.to_owned(),
            bubblewrap: None,
            machine,
            own_users,
            cgroups: None,
            protections: Protections::default(),
            scratch,
            next: AtomicU32::new(0),
        };
        let bubblewrap = match bubblewrap {
            None => Err("no `bwrap` on PATH".to_owned()),
            Some(path) => {
                sandbox.bubblewrap = Some(path);
                sandbox.try_bubblewrap()
            }
        };
        if bubblewrap.is_err() {
            sandbox.bubblewrap = None;
        }
        let (cgroups, counted) = match cgroups {
            Ok(cgroups) => (Some(Arc::new(cgroups)), Ok(())),
            Err(reason) => (None, Err(reason)),
        };
        sandbox.cgroups = cgroups;
        sandbox.protections = Protections::found(bubblewrap, machine, own_users, counted);
        Ok(sandbox)
    }

    /// What is in force.
    pub fn protections(&self) -> &Protections {
        &self.protections
    }

    /// Makes what one worker is contained by.
    pub fn cage(&self, wanted: &Wanted<'_>) -> std::io::Result<Cage> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let name = format!("worker-{number}");
        let extra = self.bubblewrap.as_ref().map_or(0, |_| OF_BUBBLEWRAP);
        let cgroup = match &self.cgroups {
            Some(cgroups) => Some((Arc::clone(cgroups), cgroups.make(&name, &wanted.bounds, extra)?)),
            None => None,
        };
        let user = self.own_users.then_some(FIRST_USER + number % USERS);
        let mut policy = self.policy(wanted, user);
        policy.cgroups = cgroup
            .iter()
            .flat_map(|(_, group)| group.folders())
            .map(Path::to_owned)
            .collect();
        // Without its own processes and without a cgroup, only the group finds what a worker started.
        policy.stay_in_group = policy.seccomp && self.bubblewrap.is_none() && cgroup.is_none();
        let mut cage = Cage::new(self.executable.clone(), policy, cgroup);
        if self.bubblewrap.is_none() {
            cage.make_scratch(&self.scratch.join(name))?;
        }
        if let Some(socket) = wanted.socket {
            cage.admit(socket)?;
        }
        Ok(cage)
    }

    fn policy(&self, wanted: &Wanted<'_>, user: Option<u32>) -> Policy {
        let bounds = &wanted.bounds;
        let mut read: Vec<PathBuf> = RUNTIME.iter().map(PathBuf::from).collect();
        read.extend(installed_with(wanted.program));
        read.extend(wanted.read.iter().cloned());
        Policy {
            cgroups: Vec::new(),
            bubblewrap: self.bubblewrap.clone(),
            landlock: self.machine.landlock > 0,
            seccomp: self.machine.seccomp,
            user,
            // Something else says what is seen; where nothing does, folders keep saying it.
            search: user.is_some()
                && self.machine.seccomp
                && (self.bubblewrap.is_some() || self.machine.landlock > 0),
            stay_in_group: false,
            read,
            sockets: Vec::new(),
            scratch: Scratch {
                path: "/tmp".into(),
                bytes: bounds.scratch,
            },
            network: match (bounds.network, &wanted.ports) {
                (true, _) => Network::All,
                (false, Some(ports)) => ports.clone(),
                (false, None) => Network::None,
            },
            resources: Resources {
                file_size: bounds.file_size,
                open_files: bounds.open_files,
                processes: user.map(|_| u64::from(bounds.processes)),
                address_space: (wanted.address_space && self.cgroups.is_none()).then_some(bounds.memory),
            },
        }
    }

    /// Goes through bubblewrap with everything a worker gets.
    fn try_bubblewrap(&self) -> Result<(), String> {
        let wanted = Wanted {
            bounds: Bounds::default(),
            program: &self.executable,
            read: Vec::new(),
            socket: None,
            ports: None,
            address_space: false,
        };
        let policy = self.policy(&wanted, self.own_users.then_some(FIRST_USER));
        let text = policy.to_json().map_err(|error| error.to_string())?;
        let mut command = Command::new(&self.executable);
        command.args(["--policy", &text, "--", "/bin/true"]);
        let tried = answer(command)?;
        match tried.status.success() {
            true => Ok(()),
            false => Err(format!("`bwrap` does not work here: {}", last_line(&tried))),
        }
    }
}

fn probe(executable: &Path) -> Result<Machine, String> {
    let mut command = Command::new(executable);
    command.arg("--probe");
    let said = answer(command)?;
    serde_json::from_slice(&said.stdout)
        .map_err(|error| format!("{}: {error}: {}", executable.display(), last_line(&said)))
}

/// What a command says, within bounds of time; it must say little.
fn answer(mut command: Command) -> Result<Output, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let failed = |error: std::io::Error| format!("{program}: {error}");
    let mut child = command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().map_err(failed)?.is_none() {
        if Instant::now() > deadline {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Err(format!("{program}: no answer within {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(POLL);
    }
    child.wait_with_output().map_err(failed)
}

fn last_line(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    match text.lines().rfind(|line| !line.trim().is_empty()) {
        Some(line) => line.trim().to_owned(),
        None => output.status.to_string(),
    }
}

/// What was installed together with a program that is not the system's: `/opt/node` of `/opt/node/bin/node`. A
/// program that stands alone is read alone.
fn installed_with(program: &Path) -> Vec<PathBuf> {
    let real = std::fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut found = Vec::new();
    for path in [program.to_owned(), real] {
        let prefix = path
            .parent()
            .filter(|folder| folder.file_name().is_some_and(|name| name == "bin"))
            .and_then(Path::parent)
            .filter(|prefix| prefix.join("lib").is_dir() && prefix.parent().is_some())
            .filter(|prefix| home.as_deref() != Some(prefix));
        found.push(prefix.map_or(path.clone(), Path::to_owned));
    }
    found
}

fn remade(folder: &Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => std::fs::create_dir_all(folder),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_brings_what_was_installed_with_it_and_not_somebodys_home() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["opt/bin", "opt/lib", "alone/bin"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["opt/bin/x", "alone/bin/x"] {
            std::fs::write(at(name), "").unwrap();
        }

        assert_eq!(installed_with(&at("opt/bin/x"))[0], at("opt"));
        assert_eq!(installed_with(&at("alone/bin/x"))[0], at("alone/bin/x"));
        assert_eq!(
            installed_with(Path::new("/bin/sh"))[0],
            Path::new("/bin/sh"),
            "never all of the machine"
        );
    }
}
