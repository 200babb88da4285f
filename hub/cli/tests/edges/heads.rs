//! Bad requests to the gateway: their heads, how long they say their bodies are, their paths.

use anyhow::Result;

use crate::raw::exchange;
use crate::stage::{Table, echoing};

const NOBODY: &str = "no API found with those values";

/// A request with this head; a connection that nothing else ends, the request ends.
fn request(head: &str, body: &str) -> Vec<u8> {
    let head = head.replace('\n', "\r\n");
    format!("{head}\r\nconnection: close\r\n\r\n{body}").into_bytes()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_head_that_can_be_read_in_two_ways_is_refused_or_read_in_the_safer_one() -> Result<()> {
    let stage = echoing().await?;
    let port = reqwest::Url::parse(&stage.hub.gateway())?.port().unwrap();
    let long = "x".repeat(70_000);
    let many: String = (0..500).map(|n| format!("\nx-{n}: 1")).collect();
    let post = "POST /dispatch/hello HTTP/1.1\nhost: a.org";
    let get = "GET /dispatch/get HTTP/1.1\nhost: a.org";
    let smuggled = "0\r\n\r\nGET /dispatch/get HTTP/1.1\r\nhost: a.org\r\n\r\n";
    let json = format!("{post}\ncontent-type: application/json");
    let rows: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("no request at all", b"GARBAGE\r\n\r\n".to_vec(), "400", ""),
        (
            "HTTP/2's preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            "none",
            "",
        ),
        (
            "HTTP/3.0",
            request("GET /dispatch/get HTTP/3.0\nhost: a.org", ""),
            "400",
            "",
        ),
        (
            "no host",
            request("GET /dispatch/get HTTP/1.1", ""),
            "400",
            "host: is required",
        ),
        (
            "no host, HTTP/1.0",
            b"GET /dispatch/get HTTP/1.0\r\n\r\n".to_vec(),
            "200",
            "",
        ),
        (
            "two hosts",
            request(&format!("{get}\nhost: b.org"), ""),
            "400",
            "host: is there twice",
        ),
        (
            "a host with a user",
            request("GET /dispatch/get HTTP/1.1\nhost: u@a.org", ""),
            "400",
            "host: must be a host",
        ),
        (
            "a host with a path",
            request("GET /h HTTP/1.1\nhost: api.example.org/x", ""),
            "400",
            "host: must be a host",
        ),
        (
            "an unknown host",
            request("GET /h HTTP/1.1\nhost: other.example.org", ""),
            "404",
            NOBODY,
        ),
        (
            "another host in the target",
            request("GET http://api.example.org/h HTTP/1.1\nhost: other.org", ""),
            "200",
            "",
        ),
        (
            "a blank before the colon",
            request(&format!("{get}\nx-a : 1"), ""),
            "400",
            "",
        ),
        (
            "a folded header",
            request(&format!("{get}\nx-a: 1\n 2"), ""),
            "400",
            "",
        ),
        (
            "a NUL in a header",
            request(&format!("{get}\nx-a: 1\0"), ""),
            "400",
            "",
        ),
        ("500 headers", request(&format!("{get}{many}"), ""), "431", ""),
        (
            "a path of 70 kB",
            request(&format!("GET /{long} HTTP/1.1\nhost: a.org"), ""),
            "414",
            "",
        ),
        (
            "two lengths",
            request(&format!("{post}\ncontent-length: 2\ncontent-length: 3"), "{}"),
            "400",
            "",
        ),
        (
            "a length with a sign",
            request(&format!("{post}\ncontent-length: +2"), "{}"),
            "400",
            "",
        ),
        (
            "a length that is none",
            request(&format!("{post}\ncontent-length: two"), "{}"),
            "400",
            "",
        ),
        (
            "a length of 2^70",
            request(&format!("{post}\ncontent-length: 1180591620717411303424"), ""),
            "400",
            "",
        ),
        (
            "length and chunks, and a request hidden behind them",
            format!("{json}\ncontent-length: 4\ntransfer-encoding: chunked\n\n{smuggled}")
                .replace("\r\n", "\n")
                .replace('\n', "\r\n")
                .into_bytes(),
            "200",
            "",
        ),
        (
            "chunks and length, and a request hidden behind them",
            format!("{json}\ntransfer-encoding: chunked\ncontent-length: 4\n\n{smuggled}")
                .replace("\r\n", "\n")
                .replace('\n', "\r\n")
                .into_bytes(),
            "200",
            "",
        ),
        (
            "an encoding that is not chunks",
            request(&format!("{post}\ntransfer-encoding: gzip"), "{}"),
            "400",
            "",
        ),
        (
            "chunks that are not the last encoding",
            request(&format!("{post}\ntransfer-encoding: chunked, gzip"), "0\r\n\r\n"),
            "400",
            "",
        ),
        (
            "chunks in HTTP/1.0",
            request(
                "POST /dispatch/hello HTTP/1.0\ntransfer-encoding: chunked",
                "0\r\n\r\n",
            ),
            "400",
            "",
        ),
        (
            "a chunk without a size",
            request(&format!("{post}\ntransfer-encoding: chunked"), "zz\r\n{}\r\n"),
            "400",
            "body: broke off",
        ),
        (
            "a chunk of 2^64",
            request(
                &format!("{post}\ntransfer-encoding: chunked"),
                "10000000000000000\r\n",
            ),
            "400",
            "body: broke off",
        ),
        (
            "two requests, one behind the other",
            [
                b"GET /dispatch/get HTTP/1.1\r\nhost: a.org\r\n\r\n",
                &request("GET /dispatch/none HTTP/1.1\nhost: a.org", "")[..],
            ]
            .concat(),
            "200 404",
            NOBODY,
        ),
        (
            "a method in small letters",
            request("get /dispatch/get HTTP/1.1\nhost: a.org", ""),
            "405",
            "it is one of GET",
        ),
        (
            "a method nobody knows",
            request("BREW /dispatch/get HTTP/1.1\nhost: a.org", ""),
            "405",
            "it is one of GET",
        ),
        (
            "a tunnel",
            request("CONNECT a.org:443 HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "OPTIONS *",
            request("OPTIONS * HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "a blank in the path",
            request("GET /dispatch/g et HTTP/1.1\nhost: a.org", ""),
            "400",
            "",
        ),
        (
            "a path that begins with no slash",
            request("GET dispatch/get HTTP/1.1\nhost: a.org", ""),
            "400",
            "",
        ),
        (
            "another letter for a letter",
            request("GET /dispatch/%67et HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "up and down again",
            request("GET /dispatch/x/../get HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "two slashes",
            request("GET /dispatch//get HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "a NUL in the path",
            request("GET /dispatch/get%00 HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "out of the organization",
            request("GET /dispatch/../other/get HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "the hub's own API",
            request("GET /v1/function HTTP/1.1\nhost: a.org", ""),
            "404",
            NOBODY,
        ),
        (
            "a path with %2e%2e, which is the function's to judge",
            request("GET /dispatch/files/..%2f%2e%2e/x HTTP/1.1\nhost: a.org", ""),
            "200",
            "\"*\":\"../../x\"",
        ),
        (
            "broken escapes",
            request("GET /dispatch/files/%zz%f HTTP/1.1\nhost: a.org", ""),
            "200",
            "%zz%f",
        ),
        (
            "bytes that are no text",
            request("GET /dispatch/files/%ff%fe?a=%ff HTTP/1.1\nhost: a.org", ""),
            "200",
            "\u{fffd}",
        ),
        (
            "whether to wait",
            request(&format!("{get}\nx-dispatch-blocking: maybe"), ""),
            "400",
            "must be true or false",
        ),
    ];

    let mut table = Table::new("request | status | what came back");
    for (what, bytes, expected, wanted) in rows {
        let answers = exchange(port, &bytes).await?;
        table.row(
            what,
            answers.in_short(),
            expected.to_owned(),
            answers.body(),
            wanted,
        );
    }
    table.done()
}
