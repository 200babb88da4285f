//! What was written for other systems, as functions, unchanged: by `exec`, by event and through an API.

use anyhow::Result;
use dispatch_fixtures::wheels;
use serde_json::json;

use crate::bench::Bench;
use crate::by_api::{self, Caller};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_functions_framework_app_in_python_is_a_function() -> Result<()> {
    let bench = Bench::start().await?;
    let language = "functions-framework-python3";
    let manifest = wheels::manifest("functions-framework==3.10.2\n")?;
    let Some(image) = bench.image(language, &manifest).await? else {
        return Ok(());
    };
    assert!(
        image["dockerUrl"]
            .as_str()
            .is_some_and(|url| url.starts_with("file://")),
        "{image}"
    );
    let log = bench.hub.ok(&["get", "image", language, "--log"])?;
    assert!(
        log.contains("Successfully installed")
            && log.ends_with(&format!("READY: {}\n", image["dockerUrl"].as_str().unwrap())),
        "{log}"
    );
    let app = r#"
import functions_framework

@functions_framework.http
def hello(request):
    name = request.get_json()["name"]
    print("greeting", name)
    return {"greeting": f"Hello, {name}", "type": request.headers["ce-type"]}

@functions_framework.cloud_event
def on_event(event):
    print(event["type"], event["source"], event.data["name"])
"#;
    let path = bench.file("main.py", app)?;
    bench
        .function(
            "hello",
            language,
            &path,
            &["--handler", "hello", "--concurrency", "4"],
        )
        .await?;
    bench
        .function("on-event", language, &path, &["--handler", "on_event"])
        .await?;

    let run = bench.exec("hello", r#"{"name": "Jön"}"#, &[])?;
    assert_eq!(
        run["output"],
        json!({"greeting": "Hello, Jön", "type": "dispatch.exec"}),
        "{run}"
    );
    assert_eq!(run["logs"]["stdout"], json!(["greeting Jön"]));
    let failed = bench.exec("hello", "{}", &[])?;
    assert_eq!(
        (&failed["error"]["type"], &failed["error"]["message"]),
        (
            &json!("FunctionError"),
            &json!("the function answered 500: KeyError: 'name'")
        )
    );
    let run = bench.run_by_event("hello", r#"{"name": "Arya"}"#).await?;
    assert_eq!(
        run["output"],
        json!({"greeting": "Hello, Arya", "type": "happened.hello"}),
        "{run}"
    );
    let run = bench.run_by_event("on-event", r#"{"name": "Bran"}"#).await?;
    assert_eq!(run["status"], "READY", "{run}");
    let line = run["logs"]["stdout"][0].as_str().unwrap_or_default();
    assert!(
        line.starts_with("happened.on-event ") && line.ends_with(" Bran"),
        "{run}"
    );

    let path = bench.file("site/main.py", by_api::PYTHON)?;
    bench
        .function("site", language, &path, &["--handler", "site"])
        .await?;
    bench
        .function("seen", language, &path, &["--handler", "on_event"])
        .await?;
    let caller = Caller::of(&bench, "site", "/site")?;
    by_api::requests_pass(&caller).await?;
    by_api::forms_are_read(&caller).await?;
    by_api::answers_pass(&caller, "site").await?;
    by_api::events_pass(&bench, "seen").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_functions_framework_app_in_node_is_a_function() -> Result<()> {
    let bench = Bench::start().await?;
    let language = "functions-framework-nodejs";
    let manifest = r#"{"dependencies": {"@google-cloud/functions-framework": "5.0.5"}}"#;
    if bench.image(language, manifest).await?.is_none() {
        return Ok(());
    }
    let app = r#"
const functions = require('@google-cloud/functions-framework');
functions.http('hello', (request, response) => {
  console.log('greeting', request.body.name);
  response.send({ greeting: `Hello, ${request.body.name.toString()}`, type: request.get('ce-type') });
});
functions.cloudEvent('onEvent', (event) => ({ type: event.type, name: event.data.name }));
"#;
    let path = bench.file("index.js", app)?;
    bench
        .function("hello", language, &path, &["--handler", "hello"])
        .await?;
    bench
        .function("on-event", language, &path, &["--handler", "onEvent"])
        .await?;

    let run = bench.exec("hello", r#"{"name": "Jön"}"#, &[])?;
    assert_eq!(
        run["output"],
        json!({"greeting": "Hello, Jön", "type": "dispatch.exec"}),
        "{run}"
    );
    assert_eq!(run["logs"]["stdout"], json!(["greeting Jön"]));
    let failed = bench.exec("hello", "{}", &[])?;
    assert_eq!(failed["error"]["type"], "FunctionError", "{failed}");
    let run = bench.run_by_event("hello", r#"{"name": "Arya"}"#).await?;
    assert_eq!(
        run["output"],
        json!({"greeting": "Hello, Arya", "type": "happened.hello"}),
        "{run}"
    );
    let run = bench.run_by_event("on-event", r#"{"name": "Bran"}"#).await?;
    assert_eq!(
        run["output"],
        json!({"type": "happened.on-event", "name": "Bran"}),
        "{run}"
    );

    let path = bench.file("site/index.js", by_api::NODE)?;
    bench
        .function("site", language, &path, &["--handler", "site"])
        .await?;
    bench
        .function("seen", language, &path, &["--handler", "onEvent"])
        .await?;
    let caller = Caller::of(&bench, "site", "/site")?;
    by_api::requests_pass(&caller).await?;
    by_api::answers_pass(&caller, "site").await?;
    by_api::events_pass(&bench, "seen").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lambda_handler_in_python_is_a_function() -> Result<()> {
    let bench = Bench::start().await?;
    let language = "lambda-python3";
    // Mangum reads what API Gateway sends, for web apps of the ASGI kind.
    let manifest = wheels::manifest("awslambdaric==4.2.2\nmangum==0.22.0\n")?;
    if bench.image(language, &manifest).await?.is_none() {
        return Ok(());
    }
    let app = r#"
def lambda_handler(event, context):
    print("greeting", event["name"])
    custom = context.client_context.custom
    return {"greeting": "Hello, " + event["name"], "function": context.function_name, "type": custom.get("event", {}).get("type")}
"#;
    let path = bench.file("lambda_function.py", app)?;
    bench.function("hello", language, &path, &[]).await?;

    let run = bench.exec("hello", r#"{"name": "Jön"}"#, &[])?;
    assert_eq!(
        run["output"],
        json!({"greeting": "Hello, Jön", "function": "hello", "type": null}),
        "{run}"
    );
    assert!(
        run["logs"]["stdout"].to_string().contains("greeting Jön"),
        "{run}"
    );
    let failed = bench.exec("hello", "{}", &[])?;
    assert_eq!(
        (&failed["error"]["type"], &failed["error"]["message"]),
        (&json!("FunctionError"), &json!("'name'")),
        "{failed}"
    );
    assert!(
        failed["error"]["stacktrace"]
            .to_string()
            .contains("lambda_function.py"),
        "{failed}"
    );
    let run = bench.run_by_event("hello", r#"{"name": "Arya"}"#).await?;
    assert_eq!(
        run["output"],
        json!({"greeting": "Hello, Arya", "function": "hello", "type": "happened.hello"}),
        "{run}"
    );

    let path = bench.file("proxy/lambda_function.py", by_api::LAMBDA)?;
    bench.function("proxy", language, &path, &[]).await?;
    let web = ["--handler", "lambda_function.web"];
    bench.function("web", language, &path, &web).await?;
    by_api::proxy_events(&bench).await
}
