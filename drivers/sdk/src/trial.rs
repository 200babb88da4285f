//! `--test`: the settings tried without a hub, for whoever wrote them.
//!
//! What was found goes to standard output, exit code 0; why the driver would do no work to standard error, exit code 1.

use std::io::Write as _;
use std::process::ExitCode;

use serde::de::DeserializeOwned;

use crate::causes::chain;
use crate::run::{About, Context, Failure, run};
use crate::settings::Settings;

/// [`run`], and with `--test` something else: tries the settings and says what it found, for people, with a line end.
pub fn run_or_test<C, D, T>(about: &About, driver: D, test: T) -> ExitCode
where
    C: DeserializeOwned,
    D: AsyncFnOnce(C, Context) -> Result<(), Failure>,
    T: AsyncFnOnce(C) -> Result<String, Failure>,
{
    match tested(about, test) {
        None => run(about, driver),
        Some(Ok(found)) => match std::io::stdout().write_all(found.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        },
        Some(Err(problem)) => match writeln!(std::io::stderr(), "{problem}") {
            Ok(()) | Err(_) => ExitCode::from(1),
        },
    }
}

/// Where others reach the driver, if who started it said so: with `--test` whoever tries it.
pub fn public_url() -> Option<String> {
    std::env::var("DISPATCH_PUBLIC_URL")
        .ok()
        .filter(|url| !url.is_empty())
}

/// `None` without `--test`, and when the arguments are none: an ordinary start tells about those.
fn tested<C, T>(about: &About, test: T) -> Option<Result<String, String>>
where
    C: DeserializeOwned,
    T: AsyncFnOnce(C) -> Result<String, Failure>,
{
    let mut settings = Settings::parse(std::env::args().skip(1)).ok()?;
    settings.take("test")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Some(match (settings.config(about.keys), runtime) {
        (Ok(config), Ok(runtime)) => runtime.block_on(test(config)).map_err(|failure| line(&failure)),
        (Err(error), _) => Err(error.to_string()),
        (_, Err(error)) => Err(error.to_string()),
    })
}

fn line(failure: &Failure) -> String {
    match failure {
        Failure::Settings(error) | Failure::Failed(error) => chain(&**error),
        Failure::Stopped => "stopped".to_owned(),
    }
}
