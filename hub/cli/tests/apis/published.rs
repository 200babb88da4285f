//! The transcript in the articles about Dispatch Solo, as far as it is about APIs.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::{Stage, told};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_published_transcript_of_an_api_runs_as_printed_over_http_and_https() -> Result<()> {
    let stage = Stage::with(&["hello"]).await?;
    stage.hub.ok(&[
        "create",
        "function",
        "hello-world",
        "./hello.py",
        "--image",
        "python3",
    ])?;

    let created = stage.api("api-hello hello-world --method POST --path /hello")?;

    assert_eq!(created, "Created api: api-hello\n");
    let (http, https) = (
        format!("{}/dispatch/hello", stage.hub.gateway()),
        format!("{}/dispatch/hello", stage.hub.gateway_tls()),
    );
    let table = stage.hub.ok(&["get", "api", "api-hello"])?;
    let cells: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    let header = [
        "NAME", "FUNCTION", "PROTOCOL", "METHOD", "DOMAIN", "PATH", "AUTH", "STATUS", "ENABLED",
    ];
    assert_eq!(cells[0], header);
    assert_eq!(
        cells[1],
        [
            "api-hello",
            "hello-world",
            "http",
            "POST",
            "",
            &http,
            "public",
            "READY",
            "true"
        ]
    );
    assert_eq!(cells[2][..6], ["", "", "https", "", "", &https]);

    let body = r#"{"name":"Motonori","place":"Tokyo"}"#;
    let certificate = stage.hub.data().join("gateway/certificate.pem");
    let certificate = certificate.to_string_lossy();
    for (url, more) in [(&http, &[][..]), (&https, &["--cacert", &certificate])] {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "60", url])
            .args(["-H", "Content-Type: application/json", "-d", body])
            .args(more)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success(),
            "{url}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert_eq!(said, r#"{"myField":"Hello, Motonori from Tokyo"}"#, "{url}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_of_a_file_is_created_updated_and_deleted_with_it() -> Result<()> {
    let stage = Stage::with(&["hello"]).await?;
    let file = |path: &str, protocols: &str| {
        format!(
            "kind: API\nname: post-hello\nenabled: true\nfunction: hello\nmethods: [POST]\nprotocols: [{protocols}]\nuris: [{path}]\n"
        )
    };
    stage.write("api.yaml", &file("/hello", "http"))?;

    assert_eq!(
        stage.hub.ok(&["create", "-f", "api.yaml"])?,
        "Created API: post-hello\n"
    );
    let hello = told(stage.ask("POST /dispatch/hello")).await?;
    assert_eq!(
        (hello.status, &hello.body["myField"]),
        (200, &json!("Hello, Noone from Nowhere"))
    );

    stage.write("api.yaml", &file("/bye", "https"))?;
    assert_eq!(
        stage.hub.ok(&["update", "-f", "api.yaml"])?,
        "Updated API: post-hello\n"
    );
    assert_eq!(told(stage.ask("POST /dispatch/hello")).await?.status, 404);
    let moved = told(stage.ask("POST /dispatch/bye")).await?;
    assert_eq!(
        (moved.status, &moved.body["message"]),
        (400, &json!("Please use HTTPS protocol"))
    );
    let url = format!("{}/dispatch/bye", stage.hub.gateway_tls());
    assert_eq!(told(stage.https()?.post(url)).await?.status, 200);
    let shown = stage.hub.json(&["get", "apis", "--func", "hello"])?;
    assert_eq!(shown[0]["uris"], json!(["/bye"]));
    assert_eq!(stage.hub.json(&["get", "apis", "--func", "other"])?, json!([]));

    assert_eq!(
        stage.hub.ok(&["delete", "-f", "api.yaml"])?,
        "Deleted API: post-hello\n"
    );
    assert_eq!(told(stage.ask("POST /dispatch/bye")).await?.status, 404);
    let gone = stage.hub.cli(&["update", "-f", "api.yaml"])?;
    assert_eq!(gone.status.code(), Some(1));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn apis_and_their_certificate_survive_a_crash() -> Result<()> {
    let mut stage = Stage::with(&["hello"]).await?;
    stage.api("one hello --method POST --path /hello")?;
    stage.api("off hello --method POST --path /off --disable")?;
    let certificate = stage.https()?;

    stage.hub.kill()?;
    stage.hub.run().await?;

    let url = format!("{}/dispatch/hello", stage.hub.gateway_tls());
    let answer = told(certificate.post(url).json(&json!({"name": "Jon"}))).await?;
    assert_eq!(
        (answer.status, &answer.body["myField"]),
        (200, &json!("Hello, Jon from Nowhere"))
    );
    assert_eq!(told(stage.ask("POST /dispatch/off")).await?.status, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_organizations_have_apis_of_one_name_and_path() -> Result<()> {
    let stage = Stage::with(&[]).await?;
    for (organization, text) in [("test-org-a", "a"), ("test-org-b", "b")] {
        let code = format!("def handle(ctx, payload):\n    return \"{text}\"\n");
        stage.write("who.py", &code)?;
        let org = |args: &[&str]| {
            let mut all = args.to_vec();
            all.extend(["--organization", organization]);
            stage.hub.ok(&all)
        };
        org(&["create", "-f", "images.yaml"])?;
        org(&["create", "function", "who", "./who.py", "--image", "python3"])?;
        org(&["create", "api", "who", "who", "--path", "/who"])?;
    }

    for (organization, text) in [("test-org-a", "a"), ("test-org-b", "b")] {
        let request = stage.ask(&format!("GET /{organization}/who"));
        // What a caller says of an organization changes nothing.
        let answer = told(request.header("x-dispatch-org", "invalid")).await?;
        assert_eq!((answer.status, answer.body), (200, json!(text)));
    }
    Ok(())
}
