//! What workers are contained by, as the hub decided it.

use std::path::Path;
use std::sync::Arc;

use dispatch_sink_sandbox::{Cage, Network, Sandbox, Wanted};

use crate::launch::Launch;

/// Whether and how workers are contained.
#[derive(Debug, Clone, Default)]
pub enum Confinement {
    /// Not at all: a worker may do what the hub may.
    #[default]
    Off,
    /// By all that the machine has.
    In(Arc<Sandbox>),
    /// They must be, and cannot be: nothing is deployed, for this reason.
    Refused(String),
}

impl Confinement {
    /// Makes what one worker is contained by; it meets the engine at `socket` or at `ports`.
    pub(crate) fn cage(
        &self,
        launch: &Launch,
        socket: Option<&Path>,
        ports: Option<Network>,
    ) -> std::io::Result<Option<Cage>> {
        let Self::In(sandbox) = self else { return Ok(None) };
        let wanted = Wanted {
            bounds: launch.bounds,
            program: &launch.plan.program,
            read: launch.readable.clone(),
            socket,
            ports,
            address_space: launch.plan.bounded_memory,
        };
        sandbox.cage(&wanted).map(Some)
    }
}
