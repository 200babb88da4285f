//! Where this process' own cgroups are, and which of them can have children.

use std::fs;
use std::path::{Path, PathBuf};

/// What a worker is limited by.
const WANTED: [&str; 3] = ["memory", "pids", "cpu"];
/// Where the hub goes in version 2, which wants processes in leaves only.
const LEAF: &str = "dispatch-hub";

/// A tree of cgroups, from this process' own on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) folder: PathBuf,
    pub(super) kind: Kind,
}

/// Whose rules a tree follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Version 1: one controller.
    One(&'static str),
    /// Version 2: these controllers; perhaps none, it ends processes all the same.
    Two(Vec<&'static str>),
}

impl Tree {
    /// A child of it.
    pub(super) fn below(&self, name: &str) -> Self {
        Self {
            folder: self.folder.join(name),
            kind: self.kind.clone(),
        }
    }

    /// Lets children be limited.
    pub(super) fn hand_down(&self) -> std::io::Result<()> {
        match &self.kind {
            Kind::Two(controllers) if !controllers.is_empty() => enable(&self.folder, controllers),
            _ => Ok(()),
        }
    }
}

/// The trees in which this process may make cgroups; `Err` says which of memory, pids and cpu it may not limit.
pub(super) fn trees() -> Result<Vec<Tree>, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|e| format!("{path}: {e}"));
    let own = own(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
    let mut trees = Vec::new();
    let mut missing = WANTED.to_vec();
    let mut why = "no cgroups are mounted".to_owned();
    for tree in own {
        match usable(&tree, &missing) {
            Ok(tree) => {
                missing.retain(|wanted| match &tree.kind {
                    Kind::One(controller) => controller != wanted,
                    Kind::Two(controllers) => !controllers.contains(wanted),
                });
                trees.push(tree);
            }
            Err(reason) => why = reason,
        }
    }
    match missing.is_empty() {
        true => Ok(trees),
        false => Err(format!("{} cannot be limited: {why}", missing.join(", "))),
    }
}

/// The cgroups of a process in the trees that matter, from its mounts and its own names (proc(5), cgroups(7)).
fn own(mounts: &str, names: &str) -> Vec<Tree> {
    let mut trees = Vec::new();
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let (Some(root), Some(at), Some(kind), Some(options)) =
            (left.get(3), left.get(4), right.first(), right.get(2))
        else {
            continue;
        };
        let kind = match *kind {
            "cgroup2" => Kind::Two(Vec::new()),
            "cgroup" => match WANTED.into_iter().find(|w| options.split(',').any(|o| o == *w)) {
                Some(controller) => Kind::One(controller),
                None => continue,
            },
            _ => continue,
        };
        let name = names.lines().find_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            let (controllers, name) = (parts.next()?, parts.next()?);
            let it = match &kind {
                Kind::Two(_) => controllers.is_empty(),
                Kind::One(controller) => controllers.split(',').any(|c| c == *controller),
            };
            it.then_some(name)
        });
        let below = name.and_then(|name| Path::new(name).strip_prefix(root).ok());
        if let Some(below) = below {
            let folder = Path::new(at).join(below);
            trees.push(Tree { folder, kind });
        }
    }
    trees
}

/// The same tree with what it can limit, ready to have children.
fn usable(tree: &Tree, missing: &[&'static str]) -> Result<Tree, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", tree.folder.display());
    if let Kind::One(_) = tree.kind {
        let trial = tree.folder.join(format!("dispatch-trial-{}", std::process::id()));
        fs::create_dir(&trial).map_err(failed)?;
        fs::remove_dir(&trial).map_err(failed)?;
        return Ok(tree.clone());
    }
    let mut folder = tree.folder.clone();
    if folder.file_name().is_some_and(|name| name == LEAF) {
        folder.pop();
    }
    let has = fs::read_to_string(folder.join("cgroup.controllers")).map_err(failed)?;
    let controllers: Vec<&'static str> = missing
        .iter()
        .copied()
        .filter(|wanted| has.split_whitespace().any(|c| c == *wanted))
        .collect();
    if !controllers.is_empty() {
        // Only the root may have both processes and children with controllers.
        if folder.join("cgroup.type").exists() && folder == tree.folder {
            let leaf = folder.join(LEAF);
            match fs::create_dir(&leaf) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(error)),
                _ => {}
            }
            fs::write(leaf.join("cgroup.procs"), "0").map_err(failed)?;
        }
        enable(&folder, &controllers).map_err(|error| {
            format!(
                "{}: {error} (is it delegated, and the hub's alone?)",
                folder.display()
            )
        })?;
    }
    Ok(Tree {
        folder,
        kind: Kind::Two(controllers),
    })
}

fn enable(folder: &Path, controllers: &[&str]) -> std::io::Result<()> {
    let words: Vec<String> = controllers.iter().map(|c| format!("+{c}")).collect();
    fs::write(folder.join("cgroup.subtree_control"), words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folder: &str, kind: Kind) -> Tree {
        Tree {
            folder: folder.into(),
            kind,
        }
    }

    #[test]
    fn the_own_cgroup_is_found_in_either_version() {
        let both = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
            33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            34 31 0:31 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            35 31 0:32 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
            36 31 0:33 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let names = "3:cpu,cpuacct:/a\n2:memory:/b/c\n1:name=systemd:/x\n0::/d\n";
        assert_eq!(
            own(both, names),
            [
                tree("/sys/fs/cgroup/cpu,cpuacct/a", Kind::One("cpu")),
                tree("/sys/fs/cgroup/memory/b/c", Kind::One("memory")),
                tree("/sys/fs/cgroup/unified/d", Kind::Two(vec![])),
            ]
        );
        // In a container, whose mount begins at its own cgroup.
        let two = "36 31 0:33 /docker/1 /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n";
        assert_eq!(
            own(two, "0::/docker/1/init\n"),
            [tree("/sys/fs/cgroup/init", Kind::Two(vec![]))]
        );
        assert_eq!(own(two, "0::/elsewhere\n"), []);
    }

    #[test]
    fn a_delegated_cgroup_is_left_for_a_leaf_and_hands_its_controllers_down() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        fs::write(at("cgroup.type"), "domain\n").unwrap();
        let own = Tree {
            folder: folder.path().to_owned(),
            kind: Kind::Two(Vec::new()),
        };

        let usable = usable(&own, &WANTED).unwrap();

        assert_eq!(usable.kind, Kind::Two(WANTED.to_vec()));
        assert_eq!(fs::read_to_string(at("dispatch-hub/cgroup.procs")).unwrap(), "0");
        let handed = fs::read_to_string(at("cgroup.subtree_control")).unwrap();
        assert_eq!(handed, "+memory +pids +cpu");
    }
}
