//! What an `HttpSink` promises, against real servers on this machine.

// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect};
use axum::routing::post;
use dispatch_contract::{Answer, Delivery, Event, Outcome, Sink as _, SubscriptionId};
use dispatch_sink_http::{Client, HttpSink, Mode, Target};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(5);

fn delivery() -> Delivery {
    Delivery {
        event: Event::builder("1", "/s", "t").json(r#"{"a":1}"#).build().unwrap(),
        sequence: 7,
        organization: "dispatch".into(),
        subscription: SubscriptionId(uuid::Uuid::nil()),
        subscription_name: "s".into(),
        attempt: 1,
        timeout: PATIENCE,
    }
}

fn sink(address: SocketAddr, path: &str) -> HttpSink {
    let target = Target::new(&format!("http://{address}{path}"), Mode::Binary).unwrap();
    HttpSink::new(Client::new(), target)
}

async fn deliver(sink: &HttpSink) -> Answer {
    tokio::time::timeout(PATIENCE, sink.deliver(delivery()))
        .await
        .expect("an answer in time")
}

async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

/// A server that answers every connection with the same bytes and then closes it.
async fn serve_bytes(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
        }
    });
    address
}

async fn answer_of(answer: impl IntoResponse + Clone + Send + Sync + 'static) -> Answer {
    let address = serve(Router::new().route("/", post(move || async move { answer }))).await;
    deliver(&sink(address, "/")).await
}

fn released(answer: &Answer) -> &str {
    match &answer.outcome {
        Outcome::Released { reason, .. } => reason,
        other => panic!("not released: {other:?}"),
    }
}

#[tokio::test]
async fn the_receiver_gets_the_event_as_it_is() {
    async fn echo(headers: HeaderMap, body: Bytes) -> StatusCode {
        match Event::from_headers(&headers, body) {
            Ok(event) if event == delivery().event => StatusCode::NO_CONTENT,
            _ => StatusCode::BAD_REQUEST,
        }
    }
    let address = serve(Router::new().route("/hook", post(echo))).await;

    let answer = deliver(&sink(address, "/hook")).await;

    assert_eq!(answer.outcome, Outcome::Accepted);
    assert!(answer.events.is_empty());
}

#[tokio::test]
async fn an_answer_that_is_an_event_is_an_event_the_delivery_caused() {
    let body = r#"{"specversion":"1.0","id":"r","source":"/r","type":"reply","data":{"b":2}}"#;
    let structured = answer_of(([("content-type", "application/cloudevents+json")], body)).await;
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "r"),
        ("ce-source", "/r"),
        ("ce-type", "reply"),
        ("content-type", "application/json"),
    ];
    let binary = answer_of((headers, r#"{"b":2}"#)).await;

    for answer in [structured, binary] {
        assert_eq!(answer.outcome, Outcome::Accepted);
        assert_eq!(answer.events.len(), 1);
        assert_eq!((answer.events[0].id(), answer.events[0].ty()), ("r", "reply"));
        assert_eq!(answer.events[0].data().unwrap().bytes, br#"{"b":2}"#);
    }
}

#[tokio::test]
async fn a_reply_that_is_no_event_or_too_large_counts_as_taken() {
    let structured = [("content-type", "application/cloudevents+json")];
    let wrong = answer_of((structured, r#"{"specversion":"1.0"}"#)).await;
    let large = answer_of((structured, "x".repeat((1 << 20) + 1))).await;

    for answer in [wrong, large] {
        assert_eq!(answer.outcome, Outcome::Accepted);
        assert!(answer.events.is_empty());
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let answer = answer_of(Redirect::temporary("http://127.0.0.1:1/elsewhere")).await;

    let Outcome::Rejected { reason, code } = answer.outcome else {
        panic!("{:?}", answer.outcome);
    };
    assert_eq!(code, Some(307));
    assert!(reason.contains("127.0.0.1:1/elsewhere"), "{reason}");
}

#[tokio::test]
async fn retry_after_reaches_the_router() {
    let answer = answer_of((StatusCode::TOO_MANY_REQUESTS, [("retry-after", "9")])).await;

    let Outcome::Released { code, after, .. } = answer.outcome else {
        panic!("{:?}", answer.outcome);
    };
    assert_eq!((code, after), (Some(429), Some(Duration::from_secs(9))));
}

#[tokio::test]
async fn what_is_no_http_is_released() {
    for garbage in [
        &b"SSH-2.0-OpenSSH\r\n"[..],
        b"HTTP/1.1 abc nope\r\n\r\n",
        b"HTTP/1.1 204",
        b"\0\0",
    ] {
        let address = serve_bytes(garbage).await;
        let answer = deliver(&sink(address, "/")).await;
        assert!(
            released(&answer).starts_with("cannot reach the sink: "),
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_released_with_the_cause_and_without_the_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);

    let answer = deliver(&sink(gone, "/?token=hunter2")).await;

    let reason = released(&answer);
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
    assert!(!reason.contains("hunter2"), "{reason}");
}

#[tokio::test]
async fn a_reply_that_breaks_off_is_released_and_any_other_body_that_does_is_accepted() {
    let reply = b"HTTP/1.1 200 OK\r\ncontent-type: application/cloudevents+json\r\ncontent-length: 100\r\n\r\n{\"spec";
    let plain = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nhalf";

    let broken_reply = deliver(&sink(serve_bytes(reply).await, "/")).await;
    let broken_body = deliver(&sink(serve_bytes(plain).await, "/")).await;

    assert!(
        released(&broken_reply).starts_with("the reply broke off"),
        "{broken_reply:?}"
    );
    assert_eq!(broken_body.outcome, Outcome::Accepted);
}

#[tokio::test]
async fn a_dropped_attempt_closes_its_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink = sink(listener.local_addr().unwrap(), "/");
    let attempt = tokio::spawn(async move { sink.deliver(delivery()).await });
    let (mut stream, _) = tokio::time::timeout(PATIENCE, listener.accept())
        .await
        .unwrap()
        .unwrap();
    let mut request = [0; 4096];
    assert!(stream.read(&mut request).await.unwrap() > 0);

    attempt.abort();

    let closed = tokio::time::timeout(PATIENCE, async {
        while !matches!(stream.read(&mut request).await, Ok(0) | Err(_)) {}
    });
    closed.await.expect("the connection ends");
}

#[tokio::test]
async fn connections_are_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let counted = connections.clone();
    let routes = Router::new().route("/", post(|_: Request| async { "thanks" }));
    let listener = axum::serve::ListenerExt::tap_io(listener, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let sink = sink(address, "/");

    for _ in 0..20 {
        assert_eq!(deliver(&sink).await.outcome, Outcome::Accepted);
    }

    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_connection_the_receiver_closed_meanwhile_costs_no_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (closed, mut is_closed) = tokio::sync::mpsc::channel(8);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                .await
                .unwrap();
            drop(stream);
            closed.send(()).await.unwrap();
        }
    });
    let sink = sink(address, "/");

    for _ in 0..5 {
        assert_eq!(deliver(&sink).await.outcome, Outcome::Accepted);
        tokio::time::timeout(PATIENCE, is_closed.recv())
            .await
            .unwrap()
            .unwrap();
    }
}

#[tokio::test]
async fn many_deliveries_at_once_have_a_connection_each_and_share_them_later() {
    let connections = Arc::new(AtomicUsize::new(0));
    let (listener, counted) = (
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        connections.clone(),
    );
    let address = listener.local_addr().unwrap();
    let together = Arc::new(tokio::sync::Barrier::new(8));
    let routes = Router::new().route(
        "/",
        post(move || {
            let together = together.clone();
            async move {
                together.wait().await;
            }
        }),
    );
    let listener = axum::serve::ListenerExt::tap_io(listener, move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
    });
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let sink = sink(address, "/");

    for _ in 0..3 {
        let deliveries = (0..8).map(|_| deliver(&sink));
        for answer in futures_util::future::join_all(deliveries).await {
            assert_eq!(answer.outcome, Outcome::Accepted);
        }
    }

    assert_eq!(connections.load(Ordering::SeqCst), 8);
}

/// A TLS server with a certificate that nobody signed but itself.
fn serve_self_signed() -> (SocketAddr, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let certificate = made.cert.der().clone();
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let config = Arc::new(config);
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(tls, stream.unwrap());
            // A client that trusts nobody ends the handshake: the next connection is another one.
            if stream.read(&mut [0; 4096]).is_ok() {
                stream
                    .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
                    .unwrap();
            }
        }
    });
    (address, certificate)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn trusting(certificate: rustls::pki_types::CertificateDer<'static>) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).unwrap();
    rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

#[tokio::test]
async fn https_is_verified() {
    let (address, certificate) = serve_self_signed();
    let sink = |client| {
        let target = Target::new(&format!("https://{address}/"), Mode::Binary).unwrap();
        HttpSink::new(client, target)
    };
    let unknown = deliver(&sink(Client::new())).await;
    let known = deliver(&sink(Client::with_tls(trusting(certificate)))).await;

    assert!(released(&unknown).contains("certificate"), "{unknown:?}");
    assert_eq!(known.outcome, Outcome::Accepted);
}

/// A server that speaks HTTP/2 alone, and says in which version it was asked.
async fn serve_http2() -> (SocketAddr, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let certificate = made.cert.der().clone();
    let mut config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = tls.accept(stream).await.unwrap();
            let answer =
                hyper::service::service_fn(async |request: hyper::Request<hyper::body::Incoming>| {
                    let fine = request.version() == http::Version::HTTP_2 && request.uri().path() == "/hook";
                    let status = if fine {
                        StatusCode::NO_CONTENT
                    } else {
                        StatusCode::BAD_REQUEST
                    };
                    let mut response = hyper::Response::new(http_body_util::Empty::<Bytes>::new());
                    *response.status_mut() = status;
                    Ok::<_, std::convert::Infallible>(response)
                });
            let io = hyper_util::rt::TokioIo::new(stream);
            let http2 = hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
            tokio::spawn(http2.serve_connection(io, answer));
        }
    });
    (address, certificate)
}

#[tokio::test]
async fn http2_is_spoken_where_the_receiver_speaks_it() {
    let (address, certificate) = serve_http2().await;
    let target = Target::new(&format!("https://{address}/hook"), Mode::Structured).unwrap();
    let sink = HttpSink::new(Client::with_tls(trusting(certificate)), target);

    for _ in 0..3 {
        assert_eq!(deliver(&sink).await.outcome, Outcome::Accepted);
    }
}
