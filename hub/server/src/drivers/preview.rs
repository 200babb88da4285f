//! What a driver would do, asked of its program: the next ticks of a schedule, what the data of its events looks like.

use std::time::Duration;

use dispatch_schemas::Driver;
use serde_json::Value;

use super::Drivers;
use super::asked::{Answer, ask};
use super::launch::arguments;
use super::supervise::{Kind, TypeError};
use crate::rest::error::ApiError;

/// When it is worth asking a program again that did not answer.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The driver whose program knows `--next`.
const CRON: &str = "cron";

/// The next three ticks of a cron driver, RFC 3339 in its time zone; none for any other. An error is the
/// program's own word about the settings.
pub(crate) async fn next_ticks(kind: &Kind, driver: &Driver) -> Result<Option<Vec<String>>, String> {
    if kind.program.driver.as_deref() != Some(CRON) {
        return Ok(None);
    }
    let mut args = arguments(&kind.program, driver, &kind.defaults);
    args.push("--next=3".to_owned());
    match ask(&kind.program.path, args).await {
        Some(Answer::Said(text)) => Ok(Some(lines(&text)).filter(|ticks| !ticks.is_empty())),
        Some(Answer::Refused(why)) => Err(why.unwrap_or_else(|| "the settings are wrong".to_owned())),
        // Not being able to tell is no reason to refuse the driver.
        None => Ok(None),
    }
}

impl Drivers {
    /// The types of events of which a driver type has a JSON Schema.
    pub(crate) async fn types_with_schema(
        &self,
        organization: &str,
        ty: &str,
    ) -> Result<Vec<String>, ApiError> {
        Ok(lines(&self.about_schemas(organization, ty, "--schema").await?))
    }

    /// The JSON Schema of the data of a driver type's events of one type.
    pub(crate) async fn schema(
        &self,
        organization: &str,
        ty: &str,
        event_type: &str,
    ) -> Result<Value, ApiError> {
        let question = format!("--schema={event_type}");
        let text = self.about_schemas(organization, ty, &question).await?;
        serde_json::from_str(&text).map_err(|_| no_schema(ty, "it prints no JSON"))
    }

    /// Only programs that keep to the SDK's contract are asked: another may begin to work, whatever it is told.
    async fn about_schemas(&self, organization: &str, ty: &str, question: &str) -> Result<String, ApiError> {
        let kind = match self.0.kind(organization, ty).await {
            Ok(kind) => kind,
            Err(TypeError::Store(error)) => return Err(error.into()),
            Err(error) => return Err(ApiError::not_found(error.to_string())),
        };
        if kind.program.driver.is_none() {
            return Err(no_schema(ty, "its program has none"));
        }
        match ask(&kind.program.path, [question]).await {
            Some(Answer::Said(text)) => Ok(text),
            // A driver without schemas knows no such setting.
            Some(Answer::Refused(Some(why))) if !why.contains("there is no setting") => {
                Err(no_schema(ty, &why))
            }
            Some(Answer::Refused(_)) => Err(no_schema(ty, "its program has none")),
            None => {
                let problem = format!("the program of driver type {ty} does not answer");
                Err(ApiError::unavailable(problem, RETRY_AFTER))
            }
        }
    }
}

fn no_schema(ty: &str, why: &str) -> ApiError {
    ApiError::not_found(format!("no schema of driver type {ty}: {why}"))
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
