//! An event as a request. Pure.

use bytes::Bytes;
use dispatch_contract::{Delivery, STRUCTURED_CONTENT_TYPE};
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Request};
use http_body_util::Full;

use crate::config::{Mode, Target};

/// The same for every attempt of a delivery.
const DELIVERY: HeaderName = HeaderName::from_static("dispatch-delivery");
/// 1 for the first attempt.
const ATTEMPT: HeaderName = HeaderName::from_static("dispatch-attempt");

/// The request of one attempt. In binary mode the body shares the event's memory.
pub fn request_from(delivery: &Delivery, target: &Target) -> Request<Full<Bytes>> {
    let event = &delivery.event;
    let body = match target.mode {
        Mode::Binary => event.data_bytes().unwrap_or_default(),
        Mode::Structured => Bytes::from(event.to_json()),
    };
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = target.uri.clone();
    let headers = request.headers_mut();
    match target.mode {
        Mode::Binary => event.write_headers(headers),
        Mode::Structured => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(STRUCTURED_CONTENT_TYPE));
        }
    }
    headers.insert(
        USER_AGENT,
        HeaderValue::from_static(concat!("dispatch/", env!("CARGO_PKG_VERSION"))),
    );
    headers.insert(ATTEMPT, HeaderValue::from(delivery.attempt));
    if let Ok(id) = HeaderValue::try_from(delivery.id()) {
        headers.insert(DELIVERY, id);
    }
    request
}

/// The same request as HTTP/1.1 writes it to the target itself.
pub(crate) fn to_origin_form(request: &mut Request<Full<Bytes>>, target: &Target) {
    *request.uri_mut() = target.origin_form.clone();
    request.headers_mut().insert(HOST, target.host.clone());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dispatch_contract::{Event, SubscriptionId};
    use http_body_util::BodyExt as _;

    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            event: Event::builder("A 1", "/vc", "vm.powered.off")
                .subject("vm-42")
                .json("{ \"a\": 1 }")
                .build()
                .unwrap(),
            sequence: 7,
            organization: "dispatch".into(),
            subscription: SubscriptionId("6f1c1b7e-0000-4000-8000-000000000001".parse().unwrap()),
            subscription_name: "s".into(),
            attempt: 3,
            timeout: Duration::from_secs(1),
        }
    }

    async fn request(mode: Mode) -> (http::request::Parts, Bytes) {
        let target = Target::new("http://example.com/hook?x=1", mode).unwrap();
        let (head, body) = request_from(&delivery(), &target).into_parts();
        (head, body.collect().await.unwrap().to_bytes())
    }

    #[tokio::test]
    async fn binary_mode_puts_attributes_into_headers_and_leaves_data_untouched() {
        let (head, body) = request(Mode::Binary).await;

        let header = |name: &str| head.headers[name].to_str().unwrap();
        assert_eq!((head.method, head.uri.path()), (Method::POST, "/hook"));
        assert_eq!((header("ce-id"), header("ce-subject")), ("A%201", "vm-42"));
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(
            header("dispatch-delivery"),
            "7-6f1c1b7e-0000-4000-8000-000000000001"
        );
        assert_eq!(header("dispatch-attempt"), "3");
        assert_eq!(body, "{ \"a\": 1 }");
    }

    #[tokio::test]
    async fn structured_mode_is_the_whole_event_as_json() {
        let (head, body) = request(Mode::Structured).await;

        assert_eq!(head.headers["content-type"], "application/cloudevents+json");
        assert!(!head.headers.contains_key("ce-id"));
        assert_eq!(Event::from_json(&body).unwrap(), delivery().event);
    }
}
