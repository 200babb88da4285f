//! What is agreed between the hub and `dispatch-sandbox`: all that is to be in force for one process.
//!
//! Everything named here is a must: what cannot be applied ends the process before the program runs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What a process is contained by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Folders of cgroups to join.
    #[serde(default)]
    pub cgroups: Vec<PathBuf>,
    /// The `bwrap` to go through.
    #[serde(default)]
    pub bubblewrap: Option<PathBuf>,
    /// Apply Landlock.
    #[serde(default)]
    pub landlock: bool,
    /// Apply seccomp.
    #[serde(default)]
    pub seccomp: bool,
    /// User and group to become; else it stays who it is.
    #[serde(default)]
    pub user: Option<u32>,
    /// Let that user pass folders that only their owner may: where Landlock, not the folder, says what is seen.
    #[serde(default)]
    pub search: bool,
    /// Refuse to leave the process group: where nothing else would find those that did.
    #[serde(default)]
    pub stay_in_group: bool,
    /// Files and folders that may be read and executed.
    #[serde(default)]
    pub read: Vec<PathBuf>,
    /// Sockets that may be connected to.
    #[serde(default)]
    pub sockets: Vec<PathBuf>,
    /// The one folder that may be written.
    pub scratch: Scratch,
    /// What may be reached.
    pub network: Network,
    /// Limits of each process.
    pub resources: Resources,
}

/// A folder for what is thrown away afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scratch {
    /// Where it is; under bubblewrap it is made there in memory.
    pub path: PathBuf,
    /// Bytes it holds, under bubblewrap.
    pub bytes: u64,
}

/// What of the network may be reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Network {
    /// Nothing.
    #[default]
    None,
    /// TCP on these ports only, whatever the address: to speak with the engine.
    Ports {
        /// To listen on.
        listen: Vec<u16>,
        /// To connect to.
        connect: Vec<u16>,
    },
    /// Everything this machine reaches.
    All,
}

/// Limits of each process; no core files in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Resources {
    /// Bytes of the largest file.
    pub file_size: u64,
    /// Files and sockets open at once.
    pub open_files: u64,
    /// Processes and threads of its user; only where the user is its own.
    #[serde(default)]
    pub processes: Option<u64>,
    /// Bytes of address space.
    #[serde(default)]
    pub address_space: Option<u64>,
}

impl Policy {
    /// What `--policy` is given.
    pub fn to_json(&self) -> std::io::Result<String> {
        serde_json::to_string(self).map_err(std::io::Error::other)
    }

    /// Reads what `--policy` was given.
    pub fn from_json(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| format!("--policy: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_as_it_was_written_and_a_word_nobody_knows_is_refused() {
        let policy = Policy {
            cgroups: vec!["/sys/fs/cgroup/x".into()],
            bubblewrap: None,
            landlock: true,
            seccomp: true,
            user: Some(7),
            search: false,
            stay_in_group: true,
            read: vec!["/usr".into()],
            sockets: Vec::new(),
            scratch: Scratch {
                path: "/tmp".into(),
                bytes: 1,
            },
            network: Network::Ports {
                listen: vec![1],
                connect: vec![],
            },
            resources: Resources {
                file_size: 1,
                open_files: 2,
                processes: Some(3),
                address_space: None,
            },
        };

        let text = policy.to_json().unwrap();

        assert_eq!(Policy::from_json(&text), Ok(policy));
        let unknown = text.replacen("seccomp", "secomp", 1);
        let problem = Policy::from_json(&unknown).unwrap_err();
        assert!(
            problem.contains("secomp") && problem.contains("stay-in-group"),
            "{problem}"
        );
    }
}
