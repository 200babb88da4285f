//! An HTTP handler (`wasi:http/incoming-handler`): asked with a request, and its response collected while it writes it.
//!
//! The response is what there is when the handler returns, so a call has one end, as that of a command has.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use wasmtime::Store;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, in_tokio, spawn};
use wasmtime_wasi_http::p2::bindings::http::types::{ErrorCode, Scheme};
use wasmtime_wasi_http::p2::bindings::sync::ProxyPre;
use wasmtime_wasi_http::p2::body::HyperOutgoingBody;
use wasmtime_wasi_http::{Error, WasiHttpView as _};

use crate::answer::Answer;
use crate::guest::Guest;

/// Where a handler says its response, or why there is none.
pub(crate) type Outlet = oneshot::Sender<Result<http::Response<HyperOutgoingBody>, ErrorCode>>;

/// The whole of a response.
#[derive(Debug)]
pub(crate) struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Response {
    /// For the engine.
    pub(crate) fn told(&self) -> Value {
        let headers = self.headers.iter();
        let headers: Vec<(&str, _)> = headers
            .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
            .collect();
        json!({"status": self.status.as_u16(), "headers": headers, "body": STANDARD.encode(&self.body)})
    }
}

/// What was heard of a handler.
#[derive(Debug)]
pub(crate) enum Heard {
    Response(Response),
    /// It has more than a result may have.
    TooLong,
    /// The handler says that it failed.
    Refused(ErrorCode),
    /// The body has an end that it should not have.
    Broken(String),
    Nothing,
}

impl Heard {
    /// What the call of a handler that returned comes to.
    pub(crate) fn answer(self, max_result: usize) -> Answer {
        let failed = |text: String| Answer::failed(text, Vec::new());
        match self {
            Self::Response(response) => Answer::Responded(response),
            Self::TooLong => Answer::too_long(&format!("more than {max_result}"), max_result),
            Self::Refused(code) => failed(format!("the handler answered with an error: {code:?}")),
            Self::Broken(why) => failed(format!("the handler's response is not whole: {why}")),
            Self::Nothing => failed("the handler returned without a response".to_owned()),
        }
    }
}

/// A response that is being collected.
pub(crate) struct Collecting(AbortOnDropJoinHandle<Heard>);

/// A response of at most `max` bytes, and where it is said. The body is taken as it comes: the handler waits for that.
pub(crate) fn collect(max: usize) -> (Outlet, Collecting) {
    let (outlet, said): (Outlet, oneshot::Receiver<_>) = oneshot::channel();
    let collecting = spawn(async move {
        let (head, body) = match said.await {
            Ok(Ok(response)) => response.into_parts(),
            Ok(Err(code)) => return Heard::Refused(code),
            Err(_) => return Heard::Nothing,
        };
        match Limited::new(body, max).collect().await {
            Ok(body) => Heard::Response(Response {
                status: head.status,
                headers: head.headers,
                body: body.to_bytes(),
            }),
            Err(error) if error.is::<LengthLimitError>() => Heard::TooLong,
            Err(error) => Heard::Broken(error.to_string()),
        }
    });
    (outlet, Collecting(collecting))
}

impl Collecting {
    /// What there is now that the instance is gone, and with it its end of everything.
    pub(crate) fn wait(self) -> Heard {
        in_tokio(self.0)
    }
}

/// Has a new instance answer the request.
pub(crate) fn ask(
    handler: &ProxyPre<Guest>,
    store: &mut Store<Guest>,
    request: Request<Bytes>,
    outlet: Outlet,
) -> wasmtime::Result<()> {
    let request = request.map(|body| Full::new(body).map_err(|never| -> Error { match never {} }));
    let request = store
        .data_mut()
        .http()
        .new_incoming_request(Scheme::Http, request)?;
    let outlet = store.data_mut().http().new_response_outparam(outlet)?;
    let handler = handler.instantiate(&mut *store)?;
    handler
        .wasi_http_incoming_handler()
        .call_handle(store, request, outlet)
}
