//! Functions: code that gets an event's data and answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_false, is_zero, null_is_default};
use crate::containment::{FunctionLimits, Protections};
use crate::invalid::{Invalid, at_most};
use crate::name::{check_reference, check_references};
use crate::resource::resource;
use crate::{Status, Tag};

/// The longest `timeout`, in milliseconds: one hour.
const MAX_TIMEOUT: i64 = 3_600_000;
/// The most workers, and calls in one of them, anybody may ask for.
const MAX_WORKERS: usize = 1000;
/// The longest `scale.idleTimeout`, in milliseconds: one day.
const MAX_IDLE: i64 = 86_400_000;

/// A function: an image, a source and a handler.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Function {
    /// Unique per organization.
    pub name: String,
    /// Name of an image.
    pub image: String,
    /// Which function of the source, in the runtime's notation (`hello.handle`); its default when empty.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "String::is_empty"
    )]
    pub handler: String,
    /// Base64 of a gzipped tar. Written, never read back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub source: Option<String>,
    /// Where the source can be fetched, instead of `source`.
    #[serde(default, rename = "sourceURL", skip_serializing_if = "Option::is_none")]
    pub source_url: Option<String>,
    /// File or folder the command line packs into `source`; the hub ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(write_only)]
    pub source_path: Option<String>,
    /// The current revision: new for each change of the code. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faas_id: Option<Uuid>,
    /// Where the built function is. Set by the hub.
    #[serde(default, rename = "functionImageURL", skip_serializing_if = "Option::is_none")]
    pub function_image_url: Option<String>,
    /// What goes in and what comes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<FunctionSchema>,
    /// Names of secrets, merged flat into `context.secrets`; later ones win.
    #[serde(default, deserialize_with = "null_is_default")]
    pub secrets: Vec<String>,
    /// Kept for the original's clients.
    #[serde(default)]
    pub services: Option<Vec<String>>,
    /// Milliseconds one call may take; 0 for the engine's own bound; at most one hour.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub timeout: i64,
    /// How many workers it has; what is absent is up to the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<FunctionScale>,
    /// What its workers may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<FunctionLimits>,
    /// Whether it reaches the network; the hub must allow it.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_false"
    )]
    pub network: bool,
    /// What contains it. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protections: Option<Protections>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `Function`.
    #[serde(default, deserialize_with = "null_is_default")]
    pub kind: String,
    /// Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Why `status` is ERROR. Set by the hub.
    #[serde(default)]
    pub reason: Option<Vec<String>>,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub created_time: i64,
    /// Unix seconds. Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "is_zero"
    )]
    pub modified_time: i64,
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

/// JSON Schemas of a function's payloads.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionSchema {
    /// Of the payload it gets.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub input: Option<serde_json::Value>,
    /// Of the payload it returns.
    #[serde(default, rename = "out", skip_serializing_if = "Option::is_none")]
    pub output: Option<serde_json::Value>,
}

/// How many workers a function has, and when they go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FunctionScale {
    /// Workers that stay although nobody calls; 0 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_workers: Option<usize>,
    /// Workers at most; 1 to 1000. An engine's own bound may be lower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_workers: Option<usize>,
    /// Milliseconds after which a worker beyond the minimum goes when nobody calls; at most one day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<i64>,
    /// Calls one worker takes at a time, where its runtime can; 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<usize>,
}

impl FunctionScale {
    fn check(&self) -> Result<(), Invalid> {
        let within = |field: &str, value: Option<usize>, least: usize| match value {
            Some(value) if !(least..=MAX_WORKERS).contains(&value) => Err(Invalid::new(
                field,
                format!("must be {least} to {MAX_WORKERS}, not {value}"),
            )),
            _ => Ok(()),
        };
        within("scale.minWorkers", self.min_workers, 0)?;
        within("scale.maxWorkers", self.max_workers, 1)?;
        within("scale.concurrency", self.concurrency, 1)?;
        if let (Some(min), Some(max)) = (self.min_workers, self.max_workers)
            && min > max
        {
            let problem = format!("must be at most scale.maxWorkers, {max}, not {min}");
            return Err(Invalid::new("scale.minWorkers", problem));
        }
        match self.idle_timeout {
            Some(ms) if !(0..=MAX_IDLE).contains(&ms) => Err(Invalid::new(
                "scale.idleTimeout",
                format!("must be 0 to {MAX_IDLE} (milliseconds), not {ms}"),
            )),
            _ => Ok(()),
        }
    }
}

impl Function {
    /// Whether the body says where the code is. Needed to create; an update may leave it out.
    pub fn has_source(&self) -> bool {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|t| !t.is_empty());
        given(&self.source) || given(&self.source_url)
    }
}

fn forget_source(function: &mut Function) {
    function.source = None;
    function.source_path = None;
}

resource!(Function, "Function", "function",
    times: [created_time, modified_time],
    stamped: forget_source,
    check: |function| {
        check_reference("image", &function.image)?;
        check_references("secrets", &function.secrets)?;
        at_most("handler", "characters", function.handler.len(), 256)?;
        if !(0..=MAX_TIMEOUT).contains(&function.timeout) {
            let problem = format!("must be 0 to {MAX_TIMEOUT} (milliseconds), not {}", function.timeout);
            return Err(Invalid::new("timeout", problem));
        }
        function.limits.as_ref().map_or(Ok(()), FunctionLimits::check)?;
        function.scale.as_ref().map_or(Ok(()), FunctionScale::check)
    }
);
