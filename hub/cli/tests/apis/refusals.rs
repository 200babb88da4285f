//! Bad requests and bad routes, each with what came back.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{Stage, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_request_is_told_what_is_wrong_with_it() -> Result<()> {
    let stage = Stage::with(&["hello"]).await?;
    stage.api("hello hello --method POST,PUT --path /hello --max-body-bytes 1000")?;
    stage.api("tls hello --method POST --path /tls --https-only")?;
    stage.api("off hello --method POST --path /off --disable")?;
    stage.api("hosted hello --method POST --path /hello --domain api.example.org")?;
    stage.api("slow hello --method POST --path /rate --rate 1")?;

    let json = "application/json";
    let large = "x".repeat(1001);
    let table = [
        (
            "POST /dispatch/hello",
            json,
            "gar{bage",
            400,
            "request body is not json",
        ),
        (
            "POST /dispatch/hello",
            "unsupported-content-type",
            "x",
            400,
            "request body type is not supported: unsupported-content-type",
        ),
        (
            "POST /dispatch/hello",
            "multipart/form-data",
            "x",
            400,
            "request body is not a form",
        ),
        (
            "POST /dispatch/hello",
            "text/plain",
            &large,
            413,
            "larger than 1000 bytes",
        ),
        (
            "GET /dispatch/hello",
            json,
            "",
            405,
            "method is not allowed here; it is one of POST, PUT",
        ),
        (
            "POST /dispatch/hello/",
            json,
            "{}",
            404,
            "no API found with those values",
        ),
        ("POST /hello", json, "{}", 404, "no API found with those values"),
        (
            "POST /other/hello",
            json,
            "{}",
            404,
            "no API found with those values",
        ),
        (
            "POST /dispatch/off",
            json,
            "{}",
            404,
            "no API found with those values",
        ),
        ("POST /dispatch/tls", json, "{}", 400, "Please use HTTPS protocol"),
        (
            "POST /driver/dispatch/hello",
            json,
            "{}",
            503,
            "event driver hello not found",
        ),
    ];
    for (request, ty, body, status, message) in table {
        let request_made = stage
            .ask(request)
            .header("content-type", ty)
            .body(body.to_owned());
        let answer = told(request_made).await?;
        println!("{request} {ty}: {} {}", answer.status, answer.body);
        let said = answer.body["message"].as_str().unwrap_or_default();
        ensure!(
            answer.status == status && said.contains(message),
            "{request}: {answer:?}"
        );
    }
    let hosted = stage.ask("POST /hello").header("host", "API.example.org:8081");
    assert_eq!(told(hosted).await?.status, 200, "a host selects");

    let options = stage.ask("OPTIONS /dispatch/hello").send().await?;
    assert_eq!(options.status(), 200);
    assert_eq!(options.headers()["allow"], "POST, PUT");
    ensure!(!options.headers().contains_key("access-control-allow-origin"));
    assert_eq!(options.text().await?, "");

    let mut codes = Vec::new();
    for _ in 0..5 {
        let answer = stage.ask("POST /dispatch/rate").send().await?;
        let retry = answer.headers().contains_key("retry-after");
        assert_eq!(retry, answer.status() == 429);
        codes.push(answer.status().as_u16());
    }
    ensure!(codes[0] == 200 && codes.contains(&429), "{codes:?}");
    let figures = stage
        .http
        .get(format!("{}/metrics", stage.hub.url()))
        .send()
        .await?
        .text()
        .await?;
    ensure!(
        figures.contains(r#"dispatch_api_requests_total{organization="dispatch",api="slow",code="429"}"#),
        "{figures}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_bad_route_is_refused_when_it_is_made() -> Result<()> {
    let stage = Stage::with(&[]).await?;
    stage.api("first f --method GET,PUT --path /a/{id}")?;
    stage.api("host f --path /x --domain h.example.org")?;

    let table = [
        ("first f --path /other", "[Code: 409] api first already exists"),
        (
            "second f --method PUT --path /a/{other}",
            "[Code: 409] /dispatch/a/{other} is served by api first already for PUT",
        ),
        (
            "third f --path /x --domain H.example.org",
            "[Code: 409] /x is served by api host already for GET at host h.example.org",
        ),
        ("b f --path /a//b", "uris[0] has an empty segment"),
        ("b f --path /x{id}", "is a whole segment"),
        ("b f --path /*/x", "* is the last one"),
        ("b f --path /a?b=c", "has '?'"),
        ("b f --path /b --method FETCH", "methods has \"FETCH\""),
        ("b f --path /b --domain a:80", "without a port"),
        ("b f --path /driver/x --domain a.org", "drivers that listen"),
        (
            "b f --path /b --auth oauth2",
            "authentication is \"oauth2\"; must be one of public, api-key, basic, jwt, hmac",
        ),
        ("b f --path /b --auth basic", "credentials.secret is required"),
        ("b f --path /b --auth public --auth-secret s", "has no use for it"),
        (
            "b f --path /b --auth jwt --jwks-url http://id.example.org",
            "must be https://",
        ),
        ("b f --path /b --timeout 99999999", "timeout must be 0 to 3600000"),
        ("b f --path /b --rate 0", "rateLimit.perSecond must be 1 to"),
        ("b f --path /b --cors-origin shop", "must be an origin"),
        ("-x f --path /b", ""),
        ("b/c f --path /b", "name should start with letter or number"),
    ];
    for (line, said) in table {
        let output = stage
            .hub
            .cli(&[&["create", "api"], &line.split(' ').collect::<Vec<_>>()[..]].concat())?;
        let error = String::from_utf8_lossy(&output.stderr);
        println!("create api {line}: {}", error.trim());
        ensure!(
            !output.status.success() && error.contains(said),
            "{line}: {error}"
        );
    }
    let api = stage.hub.url() + "/v1/api";
    for (body, status, said) in [
        (json!({"name": "c", "function": "f"}), 400, "uris is required"),
        (
            json!({"name": "c", "function": "f", "uris": ["/c"], "tls": "mine"}),
            400,
            "tls must be empty",
        ),
        (
            json!({"name": "c", "function": "f", "uris": ["/c"], "colour": 1}),
            422,
            "colour",
        ),
    ] {
        let answer = told(stage.http.post(&api).json(&body)).await?;
        let message = answer.body["message"].as_str().unwrap_or_default();
        ensure!(
            answer.status == status && message.contains(said),
            "{body}: {answer:?}"
        );
    }
    let put = stage
        .http
        .put(format!("{api}/nobody"))
        .json(&json!({"name": "nobody", "function": "f", "uris": ["/n"]}));
    assert_eq!(told(put).await?.status, 404);
    let created = stage
        .http
        .post(&api)
        .json(&json!({"name": "d", "function": "f", "uris": ["/d"]}));
    assert_eq!(
        told(created).await?.status,
        200,
        "a POST answers 200, as the original did"
    );
    assert_eq!(
        stage.refused("d f --path /e")?,
        "[Code: 409] api d already exists"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_of_the_named_origins_may_call_and_others_may_not() -> Result<()> {
    let stage = Stage::with(&["hello"]).await?;
    stage.api("all hello --method POST --path /all --cors")?;
    stage.api("some hello --method POST --path /some --cors-origin https://shop.example.org")?;

    for (path, origin, allowed) in [
        ("/all", "https://x.org", Some("*")),
        (
            "/some",
            "https://shop.example.org",
            Some("https://shop.example.org"),
        ),
        ("/some", "https://x.org", None),
    ] {
        let preflight = stage
            .ask(&format!("OPTIONS /dispatch{path}"))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization");
        let call = stage
            .ask(&format!("POST /dispatch{path}"))
            .header("origin", origin);
        for (request, is_preflight) in [(preflight, true), (call, false)] {
            let answer = request.send().await?;
            assert_eq!(answer.status(), 200);
            let said = answer.headers().get("access-control-allow-origin");
            assert_eq!(said.map(|v| v.to_str().unwrap()), allowed, "{path} {origin}");
            if is_preflight && allowed.is_some() {
                assert_eq!(answer.headers()["access-control-allow-headers"], "authorization");
                assert_eq!(answer.headers()["access-control-allow-methods"], "*");
            }
        }
    }
    Ok(())
}
