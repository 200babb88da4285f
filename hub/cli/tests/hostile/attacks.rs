//! What is done to a hub: each runs until it is over and says what it saw.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// A head that never ends.
pub(crate) const SLOW_HEAD: &[u8] = b"POST /v1/events HTTP/1.1\r\nhost: hub\r\nx-slow: ";
/// A body that never ends.
pub(crate) const SLOW_BODY: &[u8] = b"POST /v1/events HTTP/1.1\r\nhost: hub\r\n\
    content-type: application/cloudevents+json\r\ncontent-length: 100000\r\n\r\n{";

/// `count` connections that send `begin` and then a byte a second; one that is closed is opened again. Says how
/// many were closed.
pub(crate) async fn slowly(port: u16, count: usize, begin: &'static [u8], during: Duration) -> Result<usize> {
    let end = Instant::now() + during;
    let mut senders = JoinSet::new();
    for _ in 0..count {
        senders.spawn(async move {
            let mut closed = 0;
            while Instant::now() < end {
                if drip(port, begin, end).await.is_err() || Instant::now() < end {
                    closed += 1;
                    sleep(Duration::from_millis(200)).await;
                }
            }
            closed
        });
    }
    Ok(senders.join_all().await.into_iter().sum())
}

async fn drip(port: u16, begin: &[u8], end: Instant) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(begin).await?;
    let mut answer = [0; 512];
    while Instant::now() < end {
        match timeout(Duration::from_secs(1), stream.read(&mut answer)).await {
            Err(_) => stream.write_all(b"x").await?,
            Ok(Ok(0)) => return Ok(()),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
    Ok(())
}

/// A chunked body that goes on for `bytes`; says how many were sent, and what was answered.
pub(crate) async fn endless(port: u16, path: &str, bytes: u64) -> Result<(u64, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: hub\r\ncontent-type: application/cloudevents+json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    let (mut read, mut write) = stream.split();
    let mut chunk = b"10000\r\n".to_vec();
    chunk.resize(chunk.len() + 0x10000, b' ');
    chunk.extend_from_slice(b"\r\n");
    let mut sent = 0;
    let sending = async {
        while sent < bytes && write.write_all(&chunk).await.is_ok() {
            sent += 0x10000;
        }
    };
    let mut answer = Vec::new();
    let reading = async {
        let mut part = [0; 4096];
        while let Ok(length @ 1..) = read.read(&mut part).await {
            answer.extend_from_slice(&part[..length]);
        }
    };
    tokio::join!(sending, reading);
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).unwrap_or("closed without an answer");
    Ok((sent, status.to_owned()))
}

/// HTTP/2 with prior knowledge: streams that are opened and reset at once, as many as are taken. Says how many
/// were sent, over how many connections.
pub(crate) async fn rapid_reset(port: u16, connections: usize, during: Duration) -> Result<(usize, usize)> {
    let end = Instant::now() + during;
    let mut attackers = JoinSet::new();
    for _ in 0..connections {
        attackers.spawn(async move {
            let (mut streams, mut opened) = (0, 0);
            while Instant::now() < end {
                opened += 1;
                streams += reset_streams(port, end).await.unwrap_or(0);
            }
            (streams, opened)
        });
    }
    let all = attackers.join_all().await.into_iter();
    Ok(all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1)))
}

async fn reset_streams(port: u16, end: Instant) -> std::io::Result<usize> {
    /// Static table (RFC 7541): :method GET, :scheme http, :path /, :authority indexed name with value `a`.
    const HEADERS: [u8; 6] = [0x82, 0x86, 0x84, 0x41, 0x01, b'a'];
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
    let (mut read, mut write) = stream.split();
    let mut sent = 0;
    let sending = async {
        for id in (1u32..).step_by(2) {
            let mut frames = vec![0, 0, HEADERS.len() as u8, 1, 0x5];
            frames.extend_from_slice(&id.to_be_bytes());
            frames.extend_from_slice(&HEADERS);
            frames.extend_from_slice(&[0, 0, 4, 3, 0]);
            frames.extend_from_slice(&id.to_be_bytes());
            frames.extend_from_slice(&8u32.to_be_bytes());
            if Instant::now() >= end || write.write_all(&frames).await.is_err() {
                break;
            }
            sent += 1;
        }
    };
    let closed = async {
        let mut part = [0; 4096];
        while let Ok(1..) = read.read(&mut part).await {}
    };
    tokio::select! {
        () = sending => {}
        () = closed => {}
    }
    Ok(sent)
}
