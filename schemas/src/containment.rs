//! What a function may use of the machine, and what keeps it to that.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::invalid::Invalid;

/// The least memory in which anything runs: 16 MiB.
const LEAST_MEMORY: u64 = 16 << 20;
/// The least number of files a runtime needs.
const LEAST_FILES: u64 = 32;

/// Limits of one worker of a function, with all the processes it starts. What is absent is the hub's default; what is
/// above the hub's maximum is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FunctionLimits {
    /// Bytes of memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<u64>,
    /// Processor cores: `0.5` is half of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Processes and threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Bytes of the largest file it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<u64>,
    /// Bytes of its scratch folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<u64>,
    /// Files and sockets each process has open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u64>,
    /// Units of fuel of one call, about one for each instruction, in languages that count them (`wasm`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

impl FunctionLimits {
    pub(crate) fn check(&self) -> Result<(), Invalid> {
        let least = |field: &str, value: Option<u64>, least: u64| match value {
            Some(value) if value < least => {
                let problem = format!("must be at least {least}, not {value}");
                Err(Invalid::new(format!("limits.{field}"), problem))
            }
            _ => Ok(()),
        };
        least("memory", self.memory, LEAST_MEMORY)?;
        least("processes", self.processes.map(u64::from), 1)?;
        least("fileSize", self.file_size, 1)?;
        least("scratch", self.scratch, 1)?;
        least("openFiles", self.open_files, LEAST_FILES)?;
        least("fuel", self.fuel, 1)?;
        match self.cpu {
            Some(cores) if !(0.01..=1024.0).contains(&cores) => Err(Invalid::new(
                "limits.cpu",
                format!("must be 0.01 to 1024 (cores), not {cores}"),
            )),
            _ => Ok(()),
        }
    }
}

/// What a function is contained by on this hub's machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Protections {
    /// `bubblewrap`, `landlock`, `seccomp`, `user`, `cgroups`, `rlimits`.
    #[serde(default)]
    pub in_force: Vec<String>,
    /// Those of them that are not, each with the reason: `cgroups (…)`.
    #[serde(default)]
    pub missing: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_nothing_could_run_in_are_refused_with_the_field() {
        let table = [
            (
                r#"{"memory": 1000}"#,
                "limits.memory must be at least 16777216, not 1000",
            ),
            (r#"{"cpu": 0}"#, "limits.cpu must be 0.01 to 1024 (cores), not 0"),
            (
                r#"{"processes": 0}"#,
                "limits.processes must be at least 1, not 0",
            ),
            (
                r#"{"openFiles": 3}"#,
                "limits.openFiles must be at least 32, not 3",
            ),
            (r#"{"fuel": 0}"#, "limits.fuel must be at least 1, not 0"),
        ];
        for (json, problem) in table {
            let limits: FunctionLimits = serde_json::from_str(json).unwrap();
            assert_eq!(limits.check().unwrap_err().to_string(), problem);
        }
        assert!(FunctionLimits::default().check().is_ok());
        assert!(serde_json::from_str::<FunctionLimits>(r#"{"memmory": 1}"#).is_err());
    }
}
