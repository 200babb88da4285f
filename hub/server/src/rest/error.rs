//! The one shape of an error answer: `{"code": <status>, "message": "…"}`.

use std::time::Duration;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use dispatch_contract::{AppendError, EventError};
use dispatch_schemas::Invalid;
use dispatch_store::StoreError;

/// An answer that says what went wrong and whose fault it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// Status of the answer, and `code` in its body.
    pub(crate) status: StatusCode,
    /// For people: what is wrong, and where.
    pub(crate) message: String,
    /// When it is worth asking again.
    pub(crate) retry_after: Option<Duration>,
}

impl ApiError {
    /// An error with this status.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            retry_after: None,
        }
    }
    /// 400: the request can never be right as it is.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }
    /// 401: nobody we know.
    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }
    /// 404: there is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }
    /// 409: it is there already, or changed meanwhile.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }
    /// 413: more than a door takes at once.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }
    /// 429 with `Retry-After`: right, but more than the sender may for now.
    pub(crate) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, message)
        }
    }
    /// 500: our fault.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
    /// 503 with `Retry-After`: right, but not now.
    pub(crate) fn unavailable(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = dispatch_schemas::Error {
            code: self.status.as_u16().into(),
            message: self.message,
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(after) = self.retry_after {
            let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response
    }
}

impl From<EventError> for ApiError {
    fn from(error: EventError) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<AppendError> for ApiError {
    fn from(error: AppendError) -> Self {
        match &error {
            AppendError::Unavailable { retry_after, .. } => {
                Self::unavailable(error.to_string(), *retry_after)
            }
            AppendError::Closed => Self::unavailable("the hub is stopping", Duration::from_secs(5)),
            AppendError::TooLarge(_) => Self::too_large(error.to_string()),
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(error: Invalid) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = error.to_string();
        match &error {
            StoreError::AlreadyExists { .. } | StoreError::Conflict { .. } => Self::conflict(message),
            StoreError::NotFound { .. } => Self::not_found(message),
            StoreError::Refused { .. } => Self::bad_request(message),
            StoreError::Closed => Self::unavailable("the hub is stopping", Duration::from_secs(5)),
            StoreError::Full => Self::unavailable(message, Duration::from_secs(30)),
            StoreError::Unreadable { .. } | StoreError::Unsealed { .. } | StoreError::Io(_) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the store failed");
                Self::internal(message)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overload_is_503_and_says_when_to_ask_again() {
        let full = AppendError::Unavailable {
            reason: "the disk is full".into(),
            retry_after: Duration::from_millis(1500),
        };

        let response = ApiError::from(full).into_response();

        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}
