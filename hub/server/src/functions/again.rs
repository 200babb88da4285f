//! Running a run once more: with the input it had, or with another.

use std::sync::Arc;

use dispatch_schemas::{Function, Run};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::message::{Again, ExecData};
use super::{Exec, Functions, run};
use crate::rest::error::ApiError;

impl Functions {
    /// Calls the function of a run as it was called then, by event, by `exec` or through an API. What `asked` has (`input`,
    /// `secrets`, `tags`) stands for what the run had.
    pub(crate) async fn run_again(
        &self,
        organization: &Arc<str>,
        name: Uuid,
        asked: Run,
    ) -> Result<Exec, ApiError> {
        let first = self.run(organization, name).await?;
        if asked.input.is_none() && !run::is_kept(first.input.as_deref()) {
            let message = format!("the input of run {name} was too large to be kept: say another");
            return Err(ApiError::conflict(message));
        }
        let own = match self
            .0
            .store
            .get::<Function>(organization, &first.function_name)
            .await
        {
            Ok(function) => function.secrets,
            // The call says what is wrong.
            Err(_) => Vec::new(),
        };
        let given = |secrets: Vec<String>, or: &[String]| match secrets.is_empty() {
            true => or.iter().filter(|name| !own.contains(name)).cloned().collect(),
            false => secrets,
        };
        let http_context = match (&first.http_context, &asked.input) {
            (Some(http), Some(_)) => Some(without_form(http)?),
            (http, _) => http.clone(),
        };
        let data = ExecData {
            input: asked.input.or_else(|| first.input.clone()),
            secrets: given(asked.secrets, &first.secrets),
            blocking: asked.blocking,
            tags: match asked.tags.is_empty() {
                true => first.tags.clone(),
                false => asked.tags,
            },
            again: Some(Box::new(Again {
                run: name,
                event: first.event.clone(),
                http_context,
            })),
        };
        self.exec_as(organization, &first.function_name, data).await
    }
}

/// What was asked, without the form: that is the input that was.
fn without_form(http: &RawValue) -> Result<Box<RawValue>, ApiError> {
    let told = |error: serde_json::Error| ApiError::internal(error.to_string());
    let mut http: Map<String, Value> = serde_json::from_str(http.get()).map_err(told)?;
    http.remove("form");
    to_raw_value(&http).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_with_another_input_is_told_without_the_form_that_was_sent() {
        let asked = RawValue::from_string(r#"{"body":"form","form":"a=1"}"#.to_owned()).unwrap();

        assert_eq!(without_form(&asked).unwrap().get(), r#"{"body":"form"}"#);
    }
}
