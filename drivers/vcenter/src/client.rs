//! The wire: one SOAP call over HTTPS, with a deadline, a bounded answer and the session's cookie.
//!
//! The cookie may come with any answer (vCenter sets it on the first one, the simulator on the login's) and is
//! sent back as it came, quotes included. Redirects are not followed and no proxy is used: a password goes to
//! the host it was given for and nowhere else.

use std::error::Error as _;
use std::time::Duration;

use dispatch_driver_sdk::BodyError;
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, HeaderValue, SET_COOKIE};

use crate::address::Address;
use crate::config::Trust;
use crate::soap::{AnswerError, Call, Fault, answer};
use crate::tls::{TrustError, client_config};
use crate::xml::{Element, clean};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);
/// The most bytes of one answer.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
const SESSION_COOKIE: &str = "vmware_soap_session=";

/// Speaks SOAP to one server.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    action: HeaderValue,
    cookie: Option<HeaderValue>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The response element.
    pub(crate) element: Element,
    /// The whole text, which the element's spans refer to.
    pub(crate) text: String,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The server understood and refused.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The server answered, and its answer cannot be read: broken, or too long. Asking for less may help.
    #[error("{problem}")]
    Unreadable {
        /// What is wrong.
        problem: String,
        /// As much as was read.
        text: String,
    },
    /// No server, no trust in it, or something else in its place.
    #[error("{0}")]
    Unreachable(String),
}

impl Client {
    /// Prepares; nothing is sent yet. The server shows `agent` in its list of sessions.
    pub(crate) fn new(address: &Address, trust: &Trust, agent: &str) -> Result<Self, TrustError> {
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(client_config(trust)?)
            .https_only(true)
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_keepalive(TCP_KEEPALIVE)
            .pool_max_idle_per_host(1)
            .user_agent(agent)
            .build()
            .map_err(|e| TrustError::Client(e.to_string()))?;
        Ok(Self {
            http,
            url: address.url(),
            action: HeaderValue::from_static("\"urn:vim25/6.5\""),
            cookie: None,
        })
    }

    /// The connections, for requests of another kind to the same server.
    pub(crate) fn http(&self) -> reqwest::Client {
        self.http.clone()
    }

    /// Speaks this version of the API from now on.
    pub(crate) fn speak(&mut self, api_version: &str) {
        if let Ok(action) = HeaderValue::from_str(&format!("\"urn:vim25/{api_version}\"")) {
            self.action = action;
        }
    }

    /// Forgets the session. A login with the cookie of a session that still lives is refused like a wrong
    /// password.
    pub(crate) fn forget_session(&mut self) {
        self.cookie = None;
    }

    /// Calls and waits for the answer, at most until the deadline.
    pub(crate) async fn call(&mut self, call: &Call, deadline: Duration) -> Result<Answer, CallError> {
        let method = call.method();
        let exchange = async {
            let (status, text) = self.exchange(call).await?;
            tracing::trace!(method, status, bytes = text.len(), "answered");
            read(status, text)
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::Unreachable(format!(
                "no answer to {method} within {} s",
                deadline.as_secs()
            ))),
        }
    }

    async fn exchange(&mut self, call: &Call) -> Result<(u16, String), CallError> {
        let mut request = self
            .http
            .post(&self.url)
            .header(CONTENT_TYPE, "text/xml; charset=utf-8")
            .header("SOAPAction", self.action.clone())
            .body(call.envelope());
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie.clone());
        }
        let response = request.send().await.map_err(unreachable)?;
        if let Some(cookie) = session_cookie(response.headers()) {
            self.cookie = Some(cookie);
        }
        let status = response.status().as_u16();
        Ok((status, clean(&body(response).await?)))
    }
}

fn read(status: u16, text: String) -> Result<Answer, CallError> {
    match answer(&text) {
        Ok(_) if status != 200 => Err(CallError::Unreachable(format!("HTTP status {status}"))),
        Ok(element) => Ok(Answer { element, text }),
        Err(AnswerError::Fault(fault)) => Err(fault.into()),
        Err(AnswerError::Broken(error)) if status == 200 => Err(CallError::Unreadable {
            problem: format!("the answer is cut or broken: {error}"),
            text,
        }),
        Err(error) => Err(CallError::Unreachable(format!("HTTP status {status}: {error}"))),
    }
}

/// An answer's bytes, as many as are taken.
pub(crate) async fn body(mut response: reqwest::Response) -> Result<Vec<u8>, CallError> {
    match dispatch_driver_sdk::body(&mut response, MAX_ANSWER).await {
        Ok(body) => Ok(body.into()),
        Err(BodyError::Broken(error)) => Err(unreachable(error)),
        Err(error @ BodyError::TooLarge(_)) => Err(CallError::Unreadable {
            problem: error.to_string(),
            text: String::new(),
        }),
    }
}

fn unreachable(error: reqwest::Error) -> CallError {
    CallError::Unreachable(causes(error))
}

/// What an error of the client's own begins with; the cause says more.
const NOISE: [&str; 3] = [
    "error sending request",
    "client error (Connect)",
    "tcp connect error",
];

/// An error with its causes, without the URL.
pub(crate) fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut links = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        links.push(error.to_string());
        cause = error.source();
    }
    match links.iter().position(|link| !NOISE.contains(&link.as_str())) {
        Some(first) => links.split_off(first).join(": "),
        None => links.join(": "),
    }
}

fn session_cookie(headers: &HeaderMap) -> Option<HeaderValue> {
    let values = headers.get_all(SET_COOKIE).iter().filter_map(|v| v.to_str().ok());
    let mut pairs = values.filter_map(|v| v.split(';').next()).map(str::trim);
    let ours =
        |pair: &&str| pair.starts_with(SESSION_COOKIE) && pair.trim_matches('"').len() > SESSION_COOKIE.len();
    let mut cookie = HeaderValue::from_str(pairs.rfind(ours)?).ok()?;
    cookie.set_sensitive(true);
    Some(cookie)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_cookie_is_kept_as_it_came() {
        let mut headers = HeaderMap::new();
        assert_eq!(session_cookie(&headers), None);
        headers.append(SET_COOKIE, HeaderValue::from_static("other=1; Path=/"));
        assert_eq!(session_cookie(&headers), None);
        let value = "vmware_soap_session=\"52ab\"; Path=/; HttpOnly; Secure";
        headers.append(SET_COOKIE, HeaderValue::from_static(value));
        assert_eq!(session_cookie(&headers).unwrap(), "vmware_soap_session=\"52ab\"");
        headers.insert(
            SET_COOKIE,
            HeaderValue::from_static("vmware_soap_session=; Max-Age=0"),
        );
        assert_eq!(session_cookie(&headers), None);
    }

    #[tokio::test]
    async fn a_server_that_says_nothing_is_given_up_at_the_deadline() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&silent.local_addr().unwrap().to_string()).unwrap();
        let trust = Trust {
            roots: crate::config::Roots::Anybody,
            thumbprint: None,
        };
        let mut client = Client::new(&address, &trust, "test").unwrap();
        let call = Call::new(
            "CurrentTime",
            &crate::soap::Reference::new("ServiceInstance", "ServiceInstance"),
        );

        let answer = client.call(&call, Duration::from_millis(50)).await;

        assert!(
            matches!(answer, Err(CallError::Unreachable(why)) if why.contains("no answer to CurrentTime"))
        );
    }

    #[test]
    fn only_a_whole_answer_of_a_vcenter_counts() {
        let envelope = "<Envelope><Body><CurrentTimeResponse/></Body></Envelope>";
        assert!(read(200, envelope.to_owned()).is_ok());
        assert!(matches!(
            read(503, envelope.to_owned()),
            Err(CallError::Unreachable(_))
        ));
        assert!(matches!(
            read(503, "<html>busy</html>".to_owned()),
            Err(CallError::Unreachable(_))
        ));
        assert!(matches!(
            read(200, "<html>welcome</html>".to_owned()),
            Err(CallError::Unreachable(_))
        ));
        assert!(matches!(
            read(200, envelope[..30].to_owned()),
            Err(CallError::Unreadable { .. })
        ));
        let fault =
            "<Envelope><Body><Fault><detail><NotAuthenticatedFault/></detail></Fault></Body></Envelope>";
        assert!(matches!(read(500, fault.to_owned()), Err(CallError::Fault(f)) if f.is_not_authenticated()));
    }
}
