//! `powershell`: `file.ps1::function`, called with context and payload.

use std::path::Path;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::process::Command;

use super::{Interpreter, Plan, Runtime, Site, packages, put, python, ready};
use crate::install::InstallError;
use crate::worker::StartError;

pub(super) struct PowerShell;

/// Without the user's profile, and without ever asking anybody.
const QUIET: [&str; 3] = ["-NoLogo", "-NoProfile", "-NonInteractive"];
const PROBE: &str = "'PowerShell ' + $PSVersionTable.PSVersion; (Get-Process -Id $PID).Path";

impl Runtime for PowerShell {
    fn name(&self) -> &'static str {
        "powershell"
    }

    fn single_file(&self) -> &'static str {
        "handler.ps1"
    }

    fn find<'a>(&'a self, _: Option<&'a Path>) -> BoxFuture<'a, Result<Interpreter, String>> {
        let [logo, profile, interactive] = QUIET;
        async move { python::two_lines("pwsh", &[logo, profile, interactive, "-Command", PROBE]).await }
            .boxed()
    }

    fn prepare<'a>(&'a self, site: &'a Site<'a>) -> BoxFuture<'a, Result<Plan, StartError>> {
        ready(
            put(site, "worker.ps1", include_str!("../programs/worker.ps1")).map(|program| {
                let plan = Plan::framed(&site.found.path, site.handler);
                let plan = QUIET.into_iter().fold(plan, Plan::argument);
                let plan = plan
                    .argument("-File")
                    .argument(program)
                    .variable("POWERSHELL_TELEMETRY_OPTOUT", "1")
                    .variable(
                        "DOTNET_GCHeapHardLimit",
                        format!("{:#x}", u64::from(site.limits.heap) << 20),
                    );
                match site.dependencies {
                    Some(folder) => plan.variable("PSModulePath", folder.join("modules")),
                    None => plan,
                }
            }),
        )
    }

    fn install(&self, found: &Interpreter, manifest: &str, folder: &Path) -> Result<Command, InstallError> {
        packages::keep(folder, "requirements.psd1", manifest)?;
        let script = packages::keep(folder, "modules.ps1", include_str!("../programs/modules.ps1"))?;
        let mut command = Command::new(&found.path);
        command.args(QUIET).arg("-File").arg(script);
        Ok(command)
    }
}
