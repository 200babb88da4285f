//! Whose resources a request is about: the header `X-Dispatch-Org`, or the organization `dispatch`.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use utoipa::openapi::Required;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::error::ApiError;

/// Name of the header.
pub(crate) const ORGANIZATION_HEADER: &str = "x-dispatch-org";
/// The organization of those who name none.
pub(crate) const DEFAULT_ORGANIZATION: &str = "dispatch";
const MAX_NAME: usize = 128;

/// The organization a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Organization(pub(crate) Arc<str>);

impl Organization {
    /// Reads the header.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let Some(value) = headers.get(ORGANIZATION_HEADER) else {
            return Ok(Self(DEFAULT_ORGANIZATION.into()));
        };
        match value.to_str().ok().filter(|name| is_name(name)) {
            Some(name) => Ok(Self(name.into())),
            None => Err(ApiError::bad_request(
                "X-Dispatch-Org in header should match '^[\\w\\d\\-]+$'",
            )),
        }
    }
}

/// Whether an organization may be called so.
pub(crate) fn is_name(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(fine)
}

/// The header as OpenAPI tells of it.
pub(crate) fn parameter() -> Parameter {
    ParameterBuilder::new()
        .name("X-Dispatch-Org")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The organization; `dispatch` if absent."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}

impl<S: Send + Sync> FromRequestParts<S> for Organization {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        Self::of(&parts.headers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_organization_and_nobody_is_dispatch() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORGANIZATION_HEADER, value.parse().unwrap());
            Organization::of(&headers)
        };

        assert_eq!(
            Organization::of(&HeaderMap::new()).unwrap().0.as_ref(),
            "dispatch"
        );
        assert_eq!(with("acme_1-x").unwrap().0.as_ref(), "acme_1-x");
        for bad in ["", "a b", "a/b", "ä"] {
            assert!(with(bad).is_err(), "{bad}");
        }
    }
}
