//! Limits of each process, which its children inherit and nobody without privilege raises.

use anyhow::{Context as _, Result};
use dispatch_sink_sandbox::Resources;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Applies them to this process.
pub(super) fn limit(resources: &Resources) -> Result<()> {
    set(Resource::Core, 0)?;
    set(Resource::Fsize, resources.file_size)?;
    set(Resource::Nofile, resources.open_files)?;
    if let Some(processes) = resources.processes {
        set(Resource::Nproc, processes)?;
    }
    if let Some(bytes) = resources.address_space {
        set(Resource::As, bytes)?;
    }
    Ok(())
}

fn set(resource: Resource, value: u64) -> Result<()> {
    // A hard limit is not raised, whoever asks.
    let value = getrlimit(resource).maximum.map_or(value, |most| value.min(most));
    let limit = Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    setrlimit(resource, limit).with_context(|| format!("cannot limit {resource:?} to {value}"))
}
