//! The hub away for ten minutes costs nothing but time. The minutes are those of a paused clock: the code that waits is the
//! real one, and nobody waits for it.

// A helper that fails fails its test.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{post, put};
use dispatch_contract::{BATCH_CONTENT_TYPE, Event};
use dispatch_driver_sdk::{Context, Door, Hub, LATER, Limits, Stop, reply};
use dispatch_fixtures::hub::free_port;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const HALF: Duration = Duration::from_secs(300);
/// The longest wait between two questions is half a minute and a quarter of it.
const LONGEST_WAIT: Duration = Duration::from_millis(37_500);
/// What waiting may add to a process.
const FLAT_KIB: usize = 8 << 10;

type Ids = Arc<Mutex<Vec<String>>>;

/// An address of this machine at which nobody listens.
fn nobody() -> SocketAddr {
    ([127, 0, 0, 1], free_port().unwrap()).into()
}

/// A hub that takes everything.
async fn come_back(at: SocketAddr) -> Ids {
    let ids = Ids::default();
    let stored = ids.clone();
    let take = async move |headers: HeaderMap, body: Bytes| {
        let events = match headers["content-type"] == BATCH_CONTENT_TYPE {
            true => Event::batch_from_json(&body, 1000).unwrap(),
            false => vec![Event::from_json(&body).unwrap()],
        };
        let taken = events.iter().map(|event| event.id().to_owned());
        stored.lock().unwrap().extend(taken);
        StatusCode::ACCEPTED
    };
    let health = put(async || StatusCode::NO_CONTENT);
    let routes = Router::new()
        .route("/sink", post(take))
        .route("/sink/health", health);
    let listener = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    ids
}

/// Takes connections and drops them at once, for half of the ten minutes; says how many.
async fn hang_up(at: SocketAddr) -> usize {
    let listener = TcpListener::bind(at).await.unwrap();
    let mut count = 0;
    let drop_all = async {
        while listener.accept().await.is_ok() {
            count += 1;
        }
    };
    timeout(HALF, drop_all).await.unwrap_err();
    count
}

fn memory_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_emits_waits_with_what_it_has_in_hand_and_reads_no_further() {
    // Given a driver that has twenty pages to read, and no hub
    let (address, stop) = (nobody(), Stop::new());
    let hub = Hub::new(&format!("http://{address}/sink"), None).unwrap();
    let pages = Arc::new(AtomicUsize::new(0));
    let driver = tokio::spawn({
        let pages = pages.clone();
        async move {
            for page in 0..20 {
                pages.store(page + 1, Ordering::SeqCst);
                let event = |n: usize| Event::builder(n.to_string(), "/s", "t").build().unwrap();
                let events = (page * 100..(page + 1) * 100).map(event).collect();
                hub.emit(events, Some("a page".into()), &stop).await.unwrap();
            }
        }
    });

    // When ten minutes pass: first nobody is there, then somebody who hangs up
    sleep(Duration::from_secs(1)).await;
    let before = memory_kib();
    sleep(HALF).await;
    let asked = hang_up(address).await;
    let (read, grown) = (pages.load(Ordering::SeqCst), memory_kib().saturating_sub(before));
    let ids = come_back(address).await;
    let back = Instant::now();
    timeout(HALF, driver).await.unwrap().unwrap();

    // Then it held one page, asked at most every 22 seconds, and everything arrived in order as soon as it could
    println!(
        "pages in hand {read}, asked {asked} times in five minutes, {grown} KiB more, all there {:.1?} after",
        back.elapsed()
    );
    assert_eq!(read, 1);
    assert!((300 / 38..=300 / 22 + 1).contains(&asked), "{asked}");
    assert!(grown < FLAT_KIB, "{grown} KiB more");
    assert!(
        back.elapsed() < LONGEST_WAIT + Duration::from_secs(5),
        "{:?}",
        back.elapsed()
    );
    let in_order: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    assert_eq!(*ids.lock().unwrap(), in_order);
}

#[tokio::test(start_paused = true)]
async fn a_door_says_later_in_time_and_every_sender_that_repeats_is_served() {
    // Given a door without a hub behind it
    let (address, stop) = (nobody(), Stop::new());
    let hub = Hub::new(&format!("http://{address}/sink"), None).unwrap();
    let context = Context { hub, stop };
    let door = Door::open_at(&context, 0).await.unwrap();
    let (at, acceptor) = (door.address(), door.acceptor());
    let served = tokio::spawn(door.serve(Limits::default(), move |arrival| {
        let acceptor = acceptor.clone();
        async move {
            let event = Event::builder(arrival.uri.path(), "/s", "t").build().unwrap();
            match acceptor.accept(vec![event]).await {
                Ok(_) => reply(202, ""),
                Err(not) => not.reply(),
            }
        }
    }));

    // When a new sender comes every twenty seconds for ten minutes, and each repeats when it is told to
    let mut senders = JoinSet::new();
    let mut before = 0;
    for n in 0..30 {
        senders.spawn(send(at, n));
        sleep(Duration::from_secs(20)).await;
        if n == 2 {
            before = memory_kib();
        }
    }
    let grown = memory_kib().saturating_sub(before);
    let ids = come_back(address).await;
    let back = Instant::now();
    let told: Vec<(usize, Duration)> = timeout(HALF, senders.join_all()).await.unwrap();

    // Then nobody waited longer than a sender does, and all of them were served, once each
    let longest = told.iter().map(|(_, longest)| *longest).max().unwrap();
    let times: usize = told.iter().map(|(times, _)| times).sum();
    println!(
        "30 senders were told \"later\" {times} times, after {longest:.1?} at the longest; {grown} KiB more; all served {:.1?} after",
        back.elapsed()
    );
    assert!(times > 30 * 20, "{times}");
    assert!(longest < Duration::from_secs(3), "{longest:?}");
    assert!(grown < FLAT_KIB, "{grown} KiB more");
    assert!(back.elapsed() < Duration::from_secs(15), "{:?}", back.elapsed());
    let mut ids = ids.lock().unwrap().clone();
    ids.sort_unstable();
    let mut expected: Vec<String> = (0..30).map(|n| format!("/{n}")).collect();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    context.stop.stop();
    served.await.unwrap().unwrap();
}

/// Sends until it is accepted; how often it was told "later", and after how long at the longest.
async fn send(at: SocketAddr, n: usize) -> (usize, Duration) {
    let request =
        format!("POST /{n} HTTP/1.1\r\nhost: d\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi");
    let (mut times, mut longest) = (0, Duration::ZERO);
    loop {
        let asked = Instant::now();
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        longest = longest.max(asked.elapsed());
        if answer.starts_with("HTTP/1.1 202") {
            return (times, longest);
        }
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.contains(&format!("retry-after: {LATER}")), "{answer}");
        times += 1;
        sleep(Duration::from_secs(u64::from(LATER))).await;
    }
}
