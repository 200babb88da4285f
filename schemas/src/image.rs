//! Images: a base image and the dependencies functions need.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::absent::{is_zero, null_is_default};
use crate::invalid::{at_most, required};
use crate::name::check_reference;
use crate::resource::resource;
use crate::{Status, Tag};

/// The longest `runtimeDependencies.manifest`, in bytes.
const MAX_MANIFEST: usize = 1024 * 1024;

/// A base image with dependencies installed: what functions name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Unique per organization.
    pub name: String,
    /// Name of a base image.
    pub base_image_name: String,
    /// Where the result is: a folder of this machine or a container image. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_url: Option<String>,
    /// Copied from the base image. Set by the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// Kept for the original's clients.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Packages of the language.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_dependencies: Option<RuntimeDependencies>,
    /// Packages of the operating system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_dependencies: Option<SystemDependencies>,
    /// Kept for the original's clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<serde_json::Value>,
    /// Set by the hub.
    #[serde(
        default,
        deserialize_with = "null_is_default",
        skip_serializing_if = "Uuid::is_nil"
    )]
    pub id: Uuid,
    /// `Image`.
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
    /// Labels.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<Tag>,
}

/// What the tools said in an image's last build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ImageLog {
    /// Standard output and standard error, as they came; at most 1 MiB.
    pub lines: Vec<String>,
}

/// Packages of the language, in its own manifest's notation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuntimeDependencies {
    /// Text of `requirements.txt`, `package.json`, …; at most 1 MiB. In files, `@path` names the file that holds it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifest: String,
}

/// Packages of the operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemDependencies {
    /// The packages.
    #[serde(default, deserialize_with = "null_is_default")]
    pub packages: Vec<SystemPackage>,
}

/// A package of the operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SystemPackage {
    /// Its name there.
    pub name: String,
    /// Any version when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

resource!(Image, "Image", "image", times: [created_time], check: |image| {
    check_reference("baseImageName", &image.base_image_name)?;
    if let Some(dependencies) = &image.runtime_dependencies {
        at_most("runtimeDependencies.manifest", "bytes", dependencies.manifest.len(), MAX_MANIFEST)?;
    }
    let packages = image.system_dependencies.iter().flat_map(|d| &d.packages);
    for (at, package) in packages.enumerate() {
        required(&format!("systemDependencies.packages[{at}].name"), &package.name)?;
    }
    Ok(())
});
