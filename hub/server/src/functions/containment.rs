//! How this hub contains its functions: found out once when it starts, told in the log, on every function, and where
//! one is refused.

use std::path::Path;
use std::sync::Arc;

use dispatch_contract::Bounds;
use dispatch_schemas::{Function, Protections};
use dispatch_sink_process::Confinement;
use dispatch_sink_sandbox::{EXECUTABLE, Sandbox, bubblewrap, executable};

use crate::config::{FunctionSettings, SandboxMode, ServerConfig};

/// What functions are contained by, and what they may use.
#[derive(Debug, Clone, Default)]
pub(crate) struct Containment {
    confinement: Confinement,
    protections: Protections,
    settings: FunctionSettings,
}

impl Containment {
    /// Looks what this machine has. `folder` is the engine's.
    pub(crate) fn open(config: &ServerConfig, folder: &Path) -> Self {
        let (confinement, found) = match config.sandbox {
            SandboxMode::Off => {
                let reason = "switched off with --sandbox off";
                let none = dispatch_sink_sandbox::Protections::none(reason);
                (Confinement::Off, none)
            }
            mode => look(config, folder, mode),
        };
        let in_force = found.in_force.join(", ");
        match (&confinement, found.lacking()) {
            (Confinement::Refused(reason), _) => tracing::error!(reason, "functions are not deployed"),
            (Confinement::Off, lacking) => {
                tracing::warn!(
                    missing = lacking,
                    "functions are not contained: they may do what this hub may"
                );
            }
            (Confinement::In(_), None) => tracing::info!(in_force, "functions are contained"),
            (Confinement::In(_), Some(missing)) => {
                tracing::warn!(
                    in_force,
                    missing,
                    "functions are contained as far as this machine can"
                );
            }
        }
        Self {
            confinement,
            protections: Protections {
                in_force: found.in_force,
                missing: found.missing.iter().map(ToString::to_string).collect(),
            },
            settings: config.functions.clone(),
        }
    }

    /// For the engine.
    pub(super) fn confinement(&self) -> Confinement {
        self.confinement.clone()
    }

    /// For people who look at a function.
    pub(super) fn protections(&self) -> Protections {
        self.protections.clone()
    }

    /// What a function may use, or why it does not get what it asks for.
    pub(super) fn bounds(&self, function: &Function) -> Result<Bounds, String> {
        self.settings.bounds(function)
    }
}

fn look(
    config: &ServerConfig,
    folder: &Path,
    mode: SandboxMode,
) -> (Confinement, dispatch_sink_sandbox::Protections) {
    let opened = match executable(config.plugins.as_deref()) {
        Some(path) => Sandbox::open(folder, &path, bubblewrap()),
        None => Err(format!(
            "there is no executable {EXECUTABLE} beside this one, among the plugins or on PATH"
        )),
    };
    let refused = |lacking: String| {
        Confinement::Refused(format!(
            "this hub runs functions only where they are contained by everything there is (--sandbox required), \
             and here is missing: {lacking}"
        ))
    };
    match opened {
        Ok(sandbox) => {
            let found = sandbox.protections().clone();
            let confinement = match (mode, found.lacking()) {
                (SandboxMode::Required, Some(lacking)) => refused(lacking),
                _ => Confinement::In(Arc::new(sandbox)),
            };
            (confinement, found)
        }
        Err(reason) => {
            let found = dispatch_sink_sandbox::Protections::none(&reason);
            let confinement = match mode {
                SandboxMode::Required => refused(reason),
                _ => Confinement::Off,
            };
            (confinement, found)
        }
    }
}
