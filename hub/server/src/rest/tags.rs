//! The one filter by label that all lists know: `?tags=application=NAME`, or `app=NAME` for short.

use dispatch_schemas::{Resource, Tag};
use serde::Deserialize;
use utoipa::IntoParams;

use super::error::ApiError;

/// What a list is narrowed to by label.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Tagged {
    /// `application=NAME` or `app=NAME`: what belongs to that application.
    tags: Option<String>,
}

impl Tagged {
    /// The application's name, if one is asked for.
    pub(crate) fn application(&self) -> Result<Option<&str>, ApiError> {
        let Some(tags) = self.tags.as_deref().filter(|tags| !tags.is_empty()) else {
            return Ok(None);
        };
        match tags.split_once('=') {
            Some((key, name)) if key.eq_ignore_ascii_case(Tag::APPLICATION) || key == "app" => Ok(Some(name)),
            _ => Err(ApiError::bad_request(format!(
                "tags: is {tags:?}; must be application=NAME or app=NAME"
            ))),
        }
    }

    /// Those of the resources that are asked for.
    pub(crate) fn of<R: Resource>(&self, mut resources: Vec<R>) -> Result<Vec<R>, ApiError> {
        if let Some(application) = self.application()? {
            resources.retain(|resource| Tag::belongs_to(resource.tags(), application));
        }
        Ok(resources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_schemas::Image;

    #[test]
    fn a_list_is_narrowed_to_an_application() {
        let image = |name: &str, key: &str| Image {
            name: name.into(),
            tags: vec![Tag {
                key: key.into(),
                value: "shop".into(),
            }],
            ..Image::default()
        };
        let all = || vec![image("a", "Application"), image("b", "role")];
        let asked = |tags: Option<&str>| Tagged {
            tags: tags.map(str::to_owned),
        };
        for (tags, count) in [
            (None, 2),
            (Some(""), 2),
            (Some("application=shop"), 1),
            (Some("app=shop"), 1),
            (Some("app=other"), 0),
        ] {
            assert_eq!(asked(tags).of(all()).unwrap().len(), count, "{tags:?}");
        }
        assert!(asked(Some("role=shop")).of(all()).is_err());
    }
}
