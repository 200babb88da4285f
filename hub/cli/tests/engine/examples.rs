//! Examples as they are published: a file of functions in several languages, at an address.

use std::collections::HashMap;

use anyhow::Result;
use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use serde_json::json;

use crate::bench::Bench;

const SEED: &str = "
kind: Function
name: hello-js
sourcePath: nodejs/hello.js
handler: ./hello.js
image: nodejs
---
kind: Function
name: hello-py
sourcePath: python3/hello.py
handler: hello.handle
image: python3
---
kind: Function
name: hello-exec
sourcePath: exec/hello
handler: ./hello
image: exec
---
kind: Function
name: hello-java
sourcePath: java/Hello.java
handler: io.dispatchframework.examples.Hello
image: java
";

const JS: &str =
    "module.exports = (context, params) => ({ myField: `Hello, ${params.name} from ${params.place}` });\n";
const PY: &str = "def handle(ctx, payload):\n    return {'myField': 'Hello, %s from %s' % (payload['name'], payload['place'])}\n";
const EXEC: &str = "#!/usr/bin/env python3\nimport json, sys\nasked = json.load(sys.stdin)['payload']\n\
    print(json.dumps({'payload': {'myField': 'Hello, %s from %s' % (asked['name'], asked['place'])}}))\n";
/// With classes of its own for what comes and what goes.
const JAVA: &str = r#"
package io.dispatchframework.examples;
import java.util.Map;
import java.util.function.BiFunction;
public class Hello implements BiFunction<Map<String, Object>, Hello.Person, Hello.Greeting> {
    public static class Person { private String name; private String place; }
    public static class Greeting { public String myField; }
    public Greeting apply(Map<String, Object> context, Person person) {
        Greeting greeting = new Greeting();
        greeting.myField = "Hello, " + person.name + " from " + person.place;
        return greeting;
    }
}
"#;

/// A server of files; its address.
async fn server(files: HashMap<&'static str, &'static str>) -> Result<String> {
    let file = move |Path(path): Path<String>| async move {
        let text = files.get(path.as_str()).copied();
        text.ok_or(StatusCode::NOT_FOUND)
    };
    let app = Router::new().route("/{*path}", get(file));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_at_an_address_creates_functions_in_four_languages() -> Result<()> {
    let bench = Bench::start().await?;
    for language in ["nodejs", "python3", "exec", "java"] {
        if bench.image(language, "").await?.is_none() {
            return Ok(());
        }
    }
    let server = server(HashMap::from([
        ("examples/seed.yaml", SEED),
        ("examples/nodejs/hello.js", JS),
        ("examples/python3/hello.py", PY),
        ("examples/exec/hello", EXEC),
        ("examples/java/Hello.java", JAVA),
    ]))
    .await?;
    let (file, folder) = (
        format!("--file={server}/examples/seed.yaml"),
        bench.hub.scratch().join("work"),
    );

    let created = bench
        .hub
        .ok(&["create", &file, &format!("--work-dir={}", folder.display())])?;

    let names = ["hello-js", "hello-py", "hello-exec", "hello-java"];
    assert_eq!(
        created,
        names.map(|name| format!("Created Function: {name}\n")).concat()
    );
    assert!(folder.join("python3/hello.py").exists());
    for name in names {
        let function = bench.settled("function", name).await?;
        assert_eq!(function["status"], "READY", "{function}");
        let run = bench.exec(name, r#"{"name": "Jon", "place": "Winterfell"}"#, &[])?;
        assert_eq!(
            run["output"],
            json!({"myField": "Hello, Jon from Winterfell"}),
            "{run}"
        );
    }
    Ok(())
}
