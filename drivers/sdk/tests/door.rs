//! What the SDK's door promises to senders, and to the hub.

// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use dispatch_contract::Event;
use dispatch_driver_sdk::{Context, Door, Failure, Hub, Limits, Stop, Unread, reply};
use dispatch_fixtures::driver_hub::DriverHub;
use dispatch_fixtures::hub::free_port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(20);
/// How often something is sent that must be taken.
const TRIES: usize = 5;

struct Open {
    address: SocketAddr,
    stop: Stop,
    served: JoinHandle<Result<(), Failure>>,
}

/// A door that makes an event with the id of the path.
async fn open(sink: &str, limits: Limits) -> Open {
    let (hub, stop) = (Hub::new(sink, None).unwrap(), Stop::new());
    let context = Context {
        hub,
        stop: stop.clone(),
    };
    let door = Door::open_at(&context, 0).await.unwrap();
    let (address, acceptor) = (door.address(), door.acceptor());
    let served = tokio::spawn(door.serve(limits, move |arrival| {
        let acceptor = acceptor.clone();
        async move {
            let event = Event::builder(arrival.uri.path(), "/s", "t").build().unwrap();
            match acceptor.accept(vec![event]).await {
                Ok(_) => reply(202, ""),
                Err(not) => not.reply(),
            }
        }
    }));
    Open {
        address,
        stop,
        served,
    }
}

/// Sends bytes and reads until the other side closes.
async fn talk(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    ended(&mut stream).await
}

/// Sends what must be taken: again while the hub is slow, as on a busy machine.
async fn talk_again(address: SocketAddr, bytes: &[u8]) -> String {
    for _ in 1..TRIES {
        let answer = talk(address, bytes).await;
        let is_late =
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("the hub does not take events now");
        if !is_late {
            return answer;
        }
    }
    talk(address, bytes).await
}

async fn ended(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    soon(stream.read_to_end(&mut answer)).await.ok();
    String::from_utf8(answer).unwrap()
}

fn post(path: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: d\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi")
        .into_bytes()
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn the_hub_is_told_where_the_driver_listens_until_it_hears_it() {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
    let open = open(&format!("http://{address}/sink"), Limits::default()).await;

    let late = axum::Router::new();
    let (heard, mut hears) = tokio::sync::mpsc::channel::<String>(8);
    let told = axum::routing::put(async move |body: String| heard.send(body).await.unwrap());
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    let hub = tokio::spawn(async move { axum::serve(listener, late.route("/sink/health", told)).await });

    let expected = format!(r#"{{"listen":"{}","status":"READY"}}"#, open.address);
    assert_eq!(soon(hears.recv()).await.unwrap(), expected);
    assert_eq!(
        soon(hears.recv()).await.unwrap(),
        expected,
        "and again, for a hub that began anew"
    );
    hub.abort();
}

#[tokio::test]
async fn a_sender_hears_yes_only_when_the_hub_has_the_event() {
    let hub = DriverHub::start().await.unwrap();
    let open = open(&hub.sink(), Limits::default()).await;

    hub.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    let full = talk(open.address, &post("/1")).await;
    assert!(full.starts_with("HTTP/1.1 503 "), "{full}");
    assert!(full.contains("retry-after: 5\r\n"), "{full}");
    assert_eq!(hub.count(), 0);

    hub.refuse(None);
    let taken = talk_again(open.address, &post("/1")).await;
    assert!(taken.starts_with("HTTP/1.1 202 "), "{taken}");
    assert_eq!(hub.count(), 1);

    hub.refuse(Some(StatusCode::BAD_REQUEST));
    let refused = talk(open.address, &post("/2")).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
}

#[tokio::test]
async fn a_body_is_counted_while_it_is_read() {
    let hub = DriverHub::start().await.unwrap();
    let limits = Limits {
        body: 1000,
        read: Duration::from_millis(300),
        ..Limits::default()
    };
    let open = open(&hub.sink(), limits).await;
    let head = "POST /x HTTP/1.1\r\nhost: d\r\n";

    let promised = format!("{head}content-length: 1001\r\n\r\n");
    let promised = talk(open.address, promised.as_bytes()).await;
    assert!(promised.starts_with("HTTP/1.1 413 "), "{promised}");

    let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}1\r\nx\r\n");
    let chunked = talk(open.address, chunked.as_bytes()).await;
    assert!(chunked.starts_with("HTTP/1.1 413 "), "{chunked}");
    assert!(chunked.contains("connection: close\r\n"), "{chunked}");

    let slow = format!("{head}content-length: 1000\r\n\r\nonly this");
    let slow = talk(open.address, slow.as_bytes()).await;
    assert!(slow.starts_with("HTTP/1.1 408 "), "{slow}");
    assert_eq!(hub.count(), 0);
}

#[tokio::test]
async fn a_sender_that_drops_what_is_answered_with_4xx_is_told_to_come_again() {
    let hub = DriverHub::start().await.unwrap();
    let limits = Limits {
        body: 1000,
        read: Duration::from_millis(300),
        unread: Unread::Later,
        ..Limits::default()
    };
    let open = open(&hub.sink(), limits).await;
    let head = "POST /x HTTP/1.1\r\nhost: d\r\n";

    for rest in [
        "content-length: 1001\r\n\r\n",
        "content-length: 1000\r\n\r\nonly this",
    ] {
        let answer = talk(open.address, format!("{head}{rest}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("retry-after: 5\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_head_that_never_ends_loses_its_connection() {
    let hub = DriverHub::start().await.unwrap();
    let limits = Limits {
        head: Duration::from_millis(200),
        connections: 1,
        ..Limits::default()
    };
    let open = open(&hub.sink(), limits).await;

    let mut slow = TcpStream::connect(open.address).await.unwrap();
    slow.write_all(b"POST / HTTP/1.1\r\nhost").await.unwrap();

    // The only place is free again when the slow one was sent away.
    let next = talk_again(open.address, &post("/1")).await;
    assert!(next.starts_with("HTTP/1.1 202 "), "{next}");
    ended(&mut slow).await;
}

#[tokio::test]
async fn a_stopping_driver_ends_what_it_began_and_takes_nothing_new() {
    let hub = DriverHub::start().await.unwrap();
    let open = open(&hub.sink(), Limits::default()).await;
    let mut stream = TcpStream::connect(open.address).await.unwrap();
    let (head, rest) = (post("/1"), b"hi".len());
    let (first, last) = head.split_at(head.len() - rest);
    stream.write_all(first).await.unwrap();
    hub.until("the door is served", PATIENCE, |hub| !hub.health().is_empty())
        .await
        .unwrap();

    open.stop.stop();
    stream.write_all(last).await.unwrap();

    let answer = ended(&mut stream).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 503 "),
        "{answer}"
    );
    soon(open.served).await.unwrap().unwrap();
    assert!(TcpStream::connect(open.address).await.is_err());
}
