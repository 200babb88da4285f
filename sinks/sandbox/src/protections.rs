//! Which protections are in force on this machine, and which it lacks and why.

use std::fmt;

use crate::machine::Machine;

/// What functions are contained by here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protections {
    /// Names of those in force.
    pub in_force: Vec<String>,
    /// Those that are not.
    pub missing: Vec<Missing>,
}

/// A protection that is not in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its name.
    pub name: String,
    /// What the machine lacks.
    pub reason: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.reason)
    }
}

impl Protections {
    /// Nothing is in force, for one reason.
    pub fn none(reason: &str) -> Self {
        let missing = ["bubblewrap", "landlock", "seccomp", "user", "cgroups"];
        Self {
            in_force: Vec::new(),
            missing: missing
                .map(|name| Missing {
                    name: name.to_owned(),
                    reason: reason.to_owned(),
                })
                .into(),
        }
    }

    /// What was found, each with why it is not there.
    pub(crate) fn found(
        bubblewrap: Result<(), String>,
        machine: Machine,
        own_user: bool,
        cgroups: Result<(), String>,
    ) -> Self {
        let landlock = match machine.landlock {
            0 => Err("the kernel has none".to_owned()),
            n if n < Machine::LANDLOCK_PORTS => Err(format!("version {n} of the kernel's knows files only")),
            n if n < Machine::LANDLOCK_SIGNALS => {
                Err(format!("version {n} of the kernel's lets signals out"))
            }
            _ => Ok(()),
        };
        let seccomp = match machine.seccomp {
            true => Ok(()),
            false => Err("the kernel takes no filter".to_owned()),
        };
        let user = match own_user {
            true => Ok(()),
            false => Err("only a hub that runs as root gives functions users of their own".to_owned()),
        };
        let mut all = Self::default();
        all.add("bubblewrap", bubblewrap);
        all.add("landlock", landlock);
        all.add("seccomp", seccomp);
        all.add("user", user);
        all.add("cgroups", cgroups);
        all.add("rlimits", Ok(()));
        all
    }

    fn add(&mut self, name: &str, found: Result<(), String>) {
        let name = name.to_owned();
        match found {
            Ok(()) => self.in_force.push(name),
            Err(reason) => self.missing.push(Missing { name, reason }),
        }
    }

    /// The missing ones in a line; `None` when all are in force.
    pub fn lacking(&self) -> Option<String> {
        let texts: Vec<String> = self.missing.iter().map(ToString::to_string).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_its_reason() {
        let machine = Machine {
            landlock: 5,
            seccomp: true,
        };

        let found = Protections::found(Err("no `bwrap` on PATH".to_owned()), machine, true, Ok(()));

        assert_eq!(found.in_force, ["seccomp", "user", "cgroups", "rlimits"]);
        assert_eq!(
            found.lacking().unwrap(),
            "bubblewrap (no `bwrap` on PATH), landlock (version 5 of the kernel's lets signals out)"
        );
    }
}
