//! What functions may use of the machine, whether they run where it cannot be held to that, and where their code may
//! come from.

use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroU64};

use dispatch_contract::Bounds;
use dispatch_schemas::Function;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::values::{as_texts, cores, networks};

/// The most a function may ask for, unless the operator says otherwise.
const MAXIMUM: Bounds = Bounds {
    memory: 4 << 30,
    cpu: 8000,
    processes: 1024,
    file_size: 2 << 30,
    scratch: 2 << 30,
    open_files: 16_384,
    network: true,
    fuel: None,
};

/// Whether functions are contained.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// With everything the machine has; what it lacks is told.
    #[default]
    Best,
    /// With everything there is, on any machine: a function is not deployed where something is missing.
    Required,
    /// Not at all: functions may do what the hub may.
    Off,
}

impl SandboxMode {
    /// `best`, `required` or `off`.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "best" => Ok(Self::Best),
            "required" => Ok(Self::Required),
            "off" => Ok(Self::Off),
            _ => Err(format!("{text:?} is not known: say best, required or off")),
        }
    }
}

/// What functions get and may ask for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct FunctionSettings {
    /// Whether those that ask for the network reach it.
    pub network: bool,
    /// What those get that do not say.
    pub default: WorkerLimits,
    /// The most that any may ask for.
    pub maximum: WorkerLimits,
    /// Networks that sources may be fetched from (`sourceURL`) beside public addresses.
    #[serde(deserialize_with = "networks", serialize_with = "as_texts")]
    pub fetch_from: Vec<IpNet>,
}

/// Limits of one worker; what is absent is as it always is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct WorkerLimits {
    /// Bytes of memory.
    pub memory: Option<NonZeroU64>,
    /// Processor cores.
    #[serde(deserialize_with = "cores")]
    pub cpu: Option<f64>,
    /// Processes and threads.
    pub processes: Option<NonZeroU32>,
    /// Bytes of the largest file.
    pub file_size: Option<NonZeroU64>,
    /// Bytes of the scratch folder.
    pub scratch: Option<NonZeroU64>,
    /// Files and sockets of each process.
    pub open_files: Option<NonZeroU64>,
}

impl WorkerLimits {
    /// These, and `otherwise` where nothing is said.
    fn or(&self, otherwise: Bounds) -> Bounds {
        Bounds {
            memory: self.memory.map_or(otherwise.memory, NonZeroU64::get),
            cpu: self.cpu.map_or(otherwise.cpu, thousandths),
            processes: self.processes.map_or(otherwise.processes, NonZeroU32::get),
            file_size: self.file_size.map_or(otherwise.file_size, NonZeroU64::get),
            scratch: self.scratch.map_or(otherwise.scratch, NonZeroU64::get),
            open_files: self.open_files.map_or(otherwise.open_files, NonZeroU64::get),
            network: otherwise.network,
            fuel: otherwise.fuel,
        }
    }
}

impl FunctionSettings {
    /// What a function gets; `Err` says which of its wishes is not granted, and which setting says so.
    pub(crate) fn bounds(&self, function: &Function) -> Result<Bounds, String> {
        if function.network && !self.network {
            return Err("network: functions of this hub reach no network; \
                        whoever runs it can allow it (functions.network, --function-network)"
                .to_owned());
        }
        let most = self.maximum.or(MAXIMUM);
        let usual = self.default.or(Bounds::default());
        let said = function.limits.unwrap_or_default();
        Ok(Bounds {
            memory: within("memory", said.memory, usual.memory, most.memory)?,
            cpu: within("cpu", said.cpu.map(thousandths), usual.cpu, most.cpu).map_err(|_| {
                let (said, most) = (said.cpu.unwrap_or_default(), f64::from(most.cpu) / 1000.0);
                refused("cpu", &most, &said)
            })?,
            processes: within("processes", said.processes, usual.processes, most.processes)?,
            file_size: within("fileSize", said.file_size, usual.file_size, most.file_size)?,
            scratch: within("scratch", said.scratch, usual.scratch, most.scratch)?,
            open_files: within("openFiles", said.open_files, usual.open_files, most.open_files)?,
            network: function.network,
            // A runtime's own matter, and so is the most of it (`workers.fuel`).
            fuel: said.fuel,
        })
    }
}

fn within<T: Ord + Copy + Display>(name: &str, said: Option<T>, usual: T, most: T) -> Result<T, String> {
    match said {
        Some(said) if said > most => Err(refused(name, &most, &said)),
        Some(said) => Ok(said),
        None => Ok(usual.min(most)),
    }
}

fn refused(name: &str, most: &dyn Display, said: &dyn Display) -> String {
    format!("limits.{name}: must be at most {most} on this hub (functions.maximum), not {said}")
}

fn thousandths(cores: f64) -> u32 {
    // Checked to be within bounds where it is read.
    (cores * 1000.0).round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(json: &str) -> Function {
        serde_json::from_str(&format!(r#"{{"name":"f","image":"i"{json}}}"#)).unwrap()
    }

    #[test]
    fn a_function_gets_what_it_asks_for_up_to_the_maximum_and_else_the_default() {
        let settings: FunctionSettings = serde_norway::from_str(
            "default: {memory: 1000, cpu: 0.5}\nmaximum: {memory: 5000, cpu: 1, processes: 20}\n",
        )
        .unwrap();

        let usual = settings.bounds(&function("")).unwrap();
        assert_eq!((usual.memory, usual.cpu, usual.processes), (1000, 500, 20));
        let asked = settings.bounds(&function(r#","limits":{"memory":5000,"cpu":1}"#));
        assert_eq!(asked.map(|b| (b.memory, b.cpu)), Ok((5000, 1000)));

        let table = [
            (
                r#","limits":{"memory":5001}"#,
                "limits.memory: must be at most 5000",
            ),
            (
                r#","limits":{"cpu":1.5}"#,
                "limits.cpu: must be at most 1 on this hub (functions.maximum), not 1.5",
            ),
            (r#","network":true"#, "functions.network"),
        ];
        for (json, problem) in table {
            let refused = settings.bounds(&function(json)).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
        let open = FunctionSettings {
            network: true,
            ..FunctionSettings::default()
        };
        assert!(open.bounds(&function(r#","network":true"#)).unwrap().network);
    }
}
