//! What drivers that listen are promised: whatever is sent to their place on the gateway reaches them, bounded.
// A test's helper may unwrap.
#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use support::{Hub, PATIENCE, answer, config, until};
use tokio::time::Instant;

/// Bytes the gateway passes on in these tests.
const MOST: usize = 256 << 10;
const DRIVERS: &str = "/v1/event/drivers";

/// Answers every request with what it got of it. `ADDRESS` is where it listens, `SAY` whether it says so.
const ECHO: &str = r#"exec python3 - <<'END'
import http.server, json, os, urllib.request
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def body(self):
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        whole = b""
        while True:
            size = int(self.rfile.readline() or b"-1", 16)
            if size < 0:
                raise ConnectionError("the body broke off")
            whole += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return whole
    def do_POST(self):
        got = {"method": self.command, "path": self.path, "bytes": len(self.body()),
            "headers": {k.lower(): v for k, v in self.headers.items()}, "public": os.environ["DISPATCH_PUBLIC_URL"]}
        said = json.dumps(got).encode()
        self.send_response(207)
        self.send_header("X-Own", "kept")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)
    do_GET = do_PATCH = do_OPTIONS = do_POST
    def log_message(self, *args):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "0"))), Echo)
if "PORT" not in os.environ:
    health = json.dumps({"status": "READY", "listen": "127.0.0.1:%d" % server.server_address[1]}).encode()
    headers = {"Authorization": "Bearer " + os.environ["DISPATCH_TOKEN"]}
    urllib.request.urlopen(urllib.request.Request(os.environ["K_SINK"] + "/health", health, headers, method="PUT"))
server.serve_forever()
END"#;

struct Bench {
    hub: Hub,
    folder: tempfile::TempDir,
}

impl Bench {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.limits.gateway_body_bytes = MOST;
        Self {
            hub: Hub::start_with(folder, config).await,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Creates the driver `d` that is this program.
    async fn create(&self, program: &str, expose: bool) -> Value {
        let (aside, path) = (
            self.folder.path().join("aside"),
            self.folder.path().join("program"),
        );
        let here = self.folder.path().display();
        std::fs::write(&aside, format!("#!/bin/sh\nHERE={here}\n{program}\n")).unwrap();
        std::fs::set_permissions(&aside, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(aside, &path).unwrap();
        let ty = json!({"name": "door", "image": path, "expose": expose});
        let (status, said) = self.hub.post_json("/v1/event/drivertypes", &ty).await;
        assert_eq!(status, StatusCode::CREATED, "{said}");
        let (status, driver) = self
            .hub
            .post_json(DRIVERS, &json!({"name": "d", "type": "door"}))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{driver}");
        driver
    }

    /// Its address, once it listens.
    async fn url(&self) -> String {
        let listens = |d: &Value| d["url"].is_string() && d["status"] == "READY";
        let driver = self.hub.until(&format!("{DRIVERS}/d"), listens).await;
        driver["url"].as_str().unwrap().to_owned()
    }

    async fn send(&self, method: &str, url: &str, body: impl Into<reqwest::Body>) -> Response {
        let request = self.hub.client.request(method.parse().unwrap(), url);
        request
            .header("x-signature", "t=1,v1=ab")
            .header("x-forwarded-proto", "gopher")
            .body(body)
            .send()
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_driver_that_says_where_it_listens_gets_all_that_is_sent_to_its_place() {
    let bench = Bench::start().await;
    bench.create(ECHO, false).await;
    let url = bench.url().await;
    assert!(url.ends_with("/driver/dispatch/d"), "{url}");

    for (method, path, expected) in [
        ("POST", "", "/"),
        ("GET", "?code=1", "/?code=1"),
        ("PATCH", "/a%2Fb//c/?x=%20", "/a%2Fb//c/?x=%20"),
        ("OPTIONS", "/hook", "/hook"),
    ] {
        let response = bench.send(method, &format!("{url}{path}"), "12345").await;
        assert_eq!(response.headers()["x-own"], "kept");
        let (status, got) = answer(response).await;
        assert_eq!(status.as_u16(), 207, "{got}");
        assert_eq!((&got["method"], &got["path"]), (&json!(method), &json!(expected)));
        assert_eq!((&got["bytes"], &got["public"]), (&json!(5), &json!(url)));
        let headers = &got["headers"];
        assert_eq!(headers["x-signature"], "t=1,v1=ab");
        assert_eq!(headers["x-forwarded-for"], "127.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-prefix"], "/driver/dispatch/d");
        assert!(url.contains(headers["x-forwarded-host"].as_str().unwrap()));
    }
    bench.hub.stop().await;
}

#[tokio::test]
async fn a_driver_of_an_exposed_type_is_told_its_port() {
    let bench = Bench::start().await;
    bench.create(ECHO, true).await;
    let url = bench.url().await;

    // Python may begin to listen later than the gateway waits for it.
    let end = Instant::now() + PATIENCE;
    let last = loop {
        let response = bench.send("POST", &url, "1").await;
        if response.status() != StatusCode::SERVICE_UNAVAILABLE || Instant::now() >= end {
            break response;
        }
        assert_eq!(response.headers()["retry-after"], "5");
    };
    let (status, got) = answer(last).await;

    assert_eq!((status.as_u16(), &got["bytes"]), (207, &json!(1)), "{got}");
    bench.hub.stop().await;
}

#[tokio::test]
async fn senders_of_a_driver_that_is_down_are_told_to_come_again_and_reach_it_once_it_is_back() {
    let bench = Bench::start().await;
    bench.create(ECHO, false).await;
    let url = bench.url().await;
    let tell = async |what: &str| {
        bench
            .hub
            .post_json(&format!("{DRIVERS}/d/{what}"), &json!({}))
            .await
    };

    assert_eq!(tell("pause").await.0, StatusCode::OK);
    let down = bench.send("POST", &url, "1").await;
    assert_eq!(tell("resume").await.0, StatusCode::OK);
    bench.url().await;
    let back = bench.send("POST", &url, "1").await;

    assert_eq!(down.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(down.headers()["retry-after"], "5");
    assert_eq!(back.status().as_u16(), 207);
    bench.hub.stop().await;
}

#[tokio::test]
async fn a_body_larger_than_the_bound_is_413_however_it_is_sent_and_a_smaller_one_passes() {
    let bench = Bench::start().await;
    bench.create(ECHO, false).await;
    let url = bench.url().await;
    let chunks = |count: usize| {
        let chunk = |_| Ok::<_, std::io::Error>(vec![b'x'; 32 << 10]);
        reqwest::Body::wrap_stream(futures_util::stream::iter((0..count).map(chunk)))
    };

    let announced = bench.send("POST", &url, vec![b'x'; MOST + 1]).await;
    let chunked = bench.send("POST", &url, chunks(9)).await;
    let (fits, got) = answer(bench.send("POST", &url, chunks(8)).await).await;

    assert_eq!(announced.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(chunked.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!((fits.as_u16(), &got["bytes"]), (207, &json!(MOST)));
    bench.hub.stop().await;
}

#[tokio::test]
async fn a_driver_that_does_not_listen_or_is_not_there_is_503_for_now() {
    let bench = Bench::start().await;
    let driver = bench
        .create("printf %s $DISPATCH_TOKEN > $HERE/token; exec sleep 1000", false)
        .await;
    let place = |name: &str| format!("http://{}/driver/dispatch/{name}", bench.hub.gateway());

    let silent = bench.send("POST", &place("d"), "1").await;
    let unknown = bench.send("POST", &place("other"), "1").await;
    let elsewhere = bench
        .send("POST", &format!("http://{}/v1/events", bench.hub.gateway()), "1")
        .await;

    assert_eq!(silent.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(silent.headers()["retry-after"], "5");
    assert_eq!(unknown.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unknown.headers()["retry-after"], "60");
    let (_, said) = answer(unknown).await;
    assert_eq!(said["message"], "event driver other not found");
    assert_eq!(
        elsewhere.status(),
        StatusCode::NOT_FOUND,
        "the API is not served here"
    );
    let read = || std::fs::read_to_string(bench.folder.path().join("token")).unwrap_or_default();
    until("a token", || read().len() == 64).await;
    let token = read();
    let health = format!("/v1/sink/{}/health", driver["id"].as_str().unwrap());
    for listen in [
        "10.0.0.1:80",
        "localhost:80",
        &bench.hub.gateway().to_string(),
        &bench.hub.url("")["http://".len()..],
    ] {
        let request = bench.hub.client.put(bench.hub.url(&health)).bearer_auth(&token);
        let body = json!({"status": "READY", "listen": listen});
        let (status, said) = answer(request.json(&body).send().await.unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{listen}");
        assert!(
            said["message"].as_str().unwrap().starts_with("listen: "),
            "{said}"
        );
    }
    bench.hub.stop().await;
}
