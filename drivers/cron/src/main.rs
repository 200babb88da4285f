//! The executable: `dispatch-driver-cron --cron='*/5 * * * *'`.

use std::io::Write as _;
use std::process::ExitCode;

use chrono::Utc;
use dispatch_driver_cron::{ABOUT, Config, Plan, drive};
use dispatch_driver_sdk::{Failure, SettingError, Settings, run_or_test};

fn main() -> ExitCode {
    match next_ticks() {
        Ok(None) => run_or_test(&ABOUT, drive, test),
        Ok(Some(ticks)) => match std::io::stdout().write_all(ticks.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(2),
        },
        Err(error) => match writeln!(std::io::stderr(), "{error}") {
            Ok(()) | Err(_) => ExitCode::from(1),
        },
    }
}

/// With `--next=3`: the next three ticks, one a line, in the schedule's time zone.
fn next_ticks() -> Result<Option<String>, SettingError> {
    let mut settings = Settings::parse(std::env::args().skip(1))?;
    let Some(count) = settings.take("next") else {
        return Ok(None);
    };
    let count = match count.parse() {
        Ok(count @ 1..=100) => count,
        _ => return Err(SettingError::invalid("next", "must be a number from 1 to 100")),
    };
    ticks(settings.config(ABOUT.keys)?, count).map(Some)
}

/// `--test`: the next three.
async fn test(config: Config) -> Result<String, Failure> {
    Ok(ticks(config, 3)?)
}

fn ticks(config: Config, count: usize) -> Result<String, SettingError> {
    let plan = Plan::try_from(config)?;
    let ticks = plan.schedule.next(Utc::now(), count);
    if ticks.is_empty() {
        return Err(SettingError::invalid(
            "at",
            "lies in the past: it will never fire",
        ));
    }
    Ok(ticks
        .iter()
        .map(|tick| format!("{}\n", tick.to_rfc3339()))
        .collect())
}
