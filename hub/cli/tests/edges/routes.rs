//! Routes of APIs that cannot be served, or stand where another one does.

use anyhow::Result;
use dispatch_fixtures::hub::Hub;
use serde_json::{Value, json};

use crate::stage::{BINARY, Stage, Table};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_route_that_cannot_be_served_is_refused_with_its_field() -> Result<()> {
    let stage = Stage::start().await?;
    let long = format!("/{}", "x".repeat(1024));
    let many: Vec<String> = (0..65).map(|n| format!("/{n}")).collect();
    let host = "x".repeat(64) + ".org";
    let rows: Vec<(&str, Value, &str)> = vec![
        (
            "no path",
            json!({"uris": []}),
            "uris is required: at least one path, such as /hello",
        ),
        ("a query", json!({"uris": ["/a?b"]}), "uris[0] has '?'"),
        ("a fragment", json!({"uris": ["/a#b"]}), "uris[0] has '#'"),
        ("a blank", json!({"uris": ["/a", "/a b"]}), "uris[1] has ' '"),
        (
            "letters that are not ASCII",
            json!({"uris": ["/ä"]}),
            "uris[0] has 'ä'",
        ),
        (
            "an empty part",
            json!({"uris": ["/a//b"]}),
            "uris[0] has an empty segment",
        ),
        ("up", json!({"uris": ["/a/../b"]}), "uris[0] has \"..\""),
        ("here", json!({"uris": ["/./b"]}), "uris[0] has \".\""),
        (
            "half an escape",
            json!({"uris": ["/a%2"]}),
            "uris[0] has \"%2\": after % come two hexadecimal digits",
        ),
        (
            "an escape that is none",
            json!({"uris": ["/a%zz"]}),
            "uris[0] has \"%zz\"",
        ),
        (
            "a parameter twice",
            json!({"uris": ["/{id}/{id}"]}),
            "uris[0] has {id} twice",
        ),
        (
            "a parameter that is a number",
            json!({"uris": ["/{1}"]}),
            "begins with a letter",
        ),
        (
            "a parameter without a name",
            json!({"uris": ["/{}"]}),
            "begins with a letter",
        ),
        (
            "a parameter within a part",
            json!({"uris": ["/x{id}"]}),
            "is a whole segment",
        ),
        (
            "a rest that is not the last",
            json!({"uris": ["/*/a"]}),
            "* is the last one",
        ),
        (
            "a rest within a part",
            json!({"uris": ["/a*"]}),
            "* is the last one",
        ),
        (
            "1025 letters",
            json!({"uris": [long]}),
            "uris[0] has 1025 characters; at most 1024",
        ),
        ("65 paths", json!({"uris": many}), "uris has 65 items; at most 64"),
        (
            "a host with a port",
            json!({"hosts": ["a.org:80"]}),
            "hosts[0] is \"a.org:80\"; must be a host",
        ),
        (
            "a host with a scheme",
            json!({"hosts": ["http://a.org"]}),
            "without a port",
        ),
        (
            "a star within a host",
            json!({"hosts": ["a.*.org"]}),
            "must be a host such as api.example.org or *.example.org",
        ),
        ("only a star", json!({"hosts": ["*"]}), "must be a host"),
        ("an empty host", json!({"hosts": [""]}), "must be a host"),
        (
            "a part of a host of 64 letters",
            json!({"hosts": [host]}),
            "must be a host",
        ),
        (
            "a method nobody knows",
            json!({"methods": ["GET", "FETCH"]}),
            "methods has \"FETCH\"; must be of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
        ),
        (
            "a protocol nobody knows",
            json!({"protocols": ["gopher"]}),
            "protocols has \"gopher\"; must be of http, https",
        ),
        (
            "a certificate of its own",
            json!({"tls": "mine"}),
            "tls must be empty: the gateway chooses a certificate by the host",
        ),
        (
            "an origin with a path",
            json!({"corsOrigins": ["https://a.org/x"]}),
            "corsOrigins[0]",
        ),
        (
            "an authentication nobody knows",
            json!({"authentication": "oauth2"}),
            "must be one of public, api-key, basic, jwt, hmac",
        ),
        (
            "keys over plain HTTP",
            json!({"authentication": "jwt", "credentials": {"jwksUrl": "http://id.example.org"}}),
            "credentials.jwksUrl must be https://",
        ),
        (
            "a time that is none",
            json!({"timeout": -1}),
            "timeout must be 0 to 3600000 (milliseconds), not -1",
        ),
        (
            "a body of 9 MB",
            json!({"maxBodyBytes": 9 << 20}),
            "maxBodyBytes must be 0 to 8388608 (bytes)",
        ),
        (
            "a rate of nothing",
            json!({"rateLimit": {"perSecond": 0}}),
            "rateLimit.perSecond must be 1 to 1000000",
        ),
        (
            "a function that is none",
            json!({"function": "../f"}),
            "function may only contain",
        ),
        (
            "where drivers listen",
            json!({"hosts": ["a.org"], "uris": ["/driver/x"]}),
            "uris: what is below /driver are drivers that listen",
        ),
    ];

    let mut table = Table::new("route | status | what came back");
    for (what, more, wanted) in rows {
        let mut body = json!({"name": "bad", "function": "f", "uris": ["/a"]});
        crate::stage::merge(&mut body, more);
        let answer = stage.rest("POST /v1/api", &body).await?;
        table.row(what, answer.status, 400, &answer.said(), wanted);
    }
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_routes_for_one_request_are_refused_with_the_name_of_the_first() -> Result<()> {
    let stage = Stage::start().await?;
    let make = async |name: &str, more: Value| {
        let mut body = json!({"name": name, "function": "f"});
        crate::stage::merge(&mut body, more);
        stage.rest("POST /v1/api", &body).await
    };
    for (name, more) in [
        ("exact", json!({"uris": ["/exact"], "methods": ["GET"]})),
        ("parameter", json!({"uris": ["/p/{id}/x"]})),
        ("rest", json!({"uris": ["/rest/*"], "methods": ["PUT"]})),
        ("host", json!({"uris": ["/h"], "hosts": ["*.example.org"]})),
        ("off", json!({"uris": ["/off"], "enabled": false})),
    ] {
        assert_eq!(make(name, more).await?.status, 200, "{name}");
    }

    let mut table = Table::new("route | status | what came back");
    for (what, more, status, wanted) in [
        (
            "the same path",
            json!({"uris": ["/exact"], "methods": ["GET"]}),
            409,
            "/dispatch/exact is served by api exact already for GET",
        ),
        (
            "the same among others",
            json!({"uris": ["/free", "/exact"]}),
            409,
            "served by api exact already",
        ),
        (
            "the same by another name",
            json!({"uris": ["/p/{name}/x"]}),
            409,
            "/dispatch/p/{name}/x is served by api parameter already",
        ),
        (
            "the same folder",
            json!({"uris": ["/rest"], "methods": ["PUT"]}),
            409,
            "served by api rest already for PUT",
        ),
        (
            "the same rest",
            json!({"uris": ["/rest/*"]}),
            409,
            "served by api rest already",
        ),
        (
            "the same host in capitals",
            json!({"uris": ["/h"], "hosts": ["*.EXAMPLE.org"]}),
            409,
            "at host *.example.org",
        ),
        (
            "another method",
            json!({"uris": ["/exact"], "methods": ["POST"]}),
            200,
            "",
        ),
        ("another part", json!({"uris": ["/p/{id}/y"]}), 200, ""),
        (
            "below the rest",
            json!({"uris": ["/rest/a"], "methods": ["PUT"]}),
            200,
            "",
        ),
        (
            "another host",
            json!({"uris": ["/h"], "hosts": ["a.example.org"]}),
            200,
            "",
        ),
        ("where one is not enabled", json!({"uris": ["/off"]}), 200, ""),
        ("a slash more", json!({"uris": ["/exact/"]}), 200, ""),
    ] {
        let answer = make("second", more).await?;
        let said = if answer.status == 200 {
            String::new()
        } else {
            answer.said()
        };
        table.row(what, answer.status, status, &said, wanted);
        if answer.status == 200 {
            stage.hub.ok(&["delete", "api", "second"])?;
        }
    }
    let again = stage
        .rest(
            "PUT /v1/api/off",
            &json!({"name": "off", "function": "f", "uris": ["/exact"]}),
        )
        .await?;
    table.row(
        "one that is enabled where another is",
        again.status,
        409,
        &again.said(),
        "served by api exact already",
    );
    let nobody = stage
        .rest(
            "PUT /v1/api/nobody",
            &json!({"name": "nobody", "function": "f", "uris": ["/n"]}),
        )
        .await?;
    table.row(
        "one that is not there",
        nobody.status,
        404,
        &nobody.said(),
        "nobody",
    );
    let twice = make("exact", json!({"uris": ["/other"]})).await?;
    table.row(
        "a name that is there",
        twice.status,
        409,
        &twice.said(),
        "api exact already exists",
    );
    let calls = stage
        .rest(
            "POST /v1/api",
            &json!({"name": "void", "function": "nobody", "uris": ["/void"]}),
        )
        .await?;
    assert_eq!(calls.status, 200, "a function may come later");
    let called = crate::stage::told(stage.ask("GET /dispatch/void")).await?;
    table.row(
        "a call of a function that is not there",
        called.status,
        404,
        &called.said(),
        "function nobody not found",
    );
    table.done()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_its_certificates_does_not_start_and_says_which() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let hosts = folder.path().join("hosts");
    std::fs::create_dir(&hosts)?;
    std::fs::write(hosts.join("a.pem"), "no certificate")?;
    let made = rcgen::generate_simple_self_signed(vec!["a.org".to_owned()])?;
    let other = rcgen::generate_simple_self_signed(vec!["a.org".to_owned()])?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (certificate, key, others) = (path("c.pem"), path("k.pem"), path("other.pem"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    std::fs::write(&others, other.signing_key.serialize_pem())?;
    let (nowhere, hosts) = (path("nowhere"), path("hosts"));

    let mut table = Table::new("flags | starts | what it said");
    for (flags, wanted) in [
        (
            vec!["--gateway-tls-cert", &certificate],
            "gateway-tls-key is missing",
        ),
        (vec!["--gateway-tls-key", &key], "gateway-tls-cert is missing"),
        (
            vec!["--gateway-tls-cert", &nowhere, "--gateway-tls-key", &key],
            "nowhere (gateway-tls-cert) cannot be used",
        ),
        (
            vec!["--gateway-tls-cert", &key, "--gateway-tls-key", &key],
            "it has no certificate",
        ),
        (
            vec![
                "--gateway-tls-cert",
                &certificate,
                "--gateway-tls-key",
                &certificate,
            ],
            "(gateway-tls-key) cannot be used",
        ),
        (
            vec!["--gateway-tls-cert", &certificate, "--gateway-tls-key", &others],
            "(gateway-tls-key) is not the key of",
        ),
        (
            vec!["--gateway-tls-folder", &nowhere],
            "nowhere (gateway-tls-folder) cannot be used",
        ),
        (
            vec!["--gateway-tls-folder", &hosts],
            "a.pem (gateway-tls-folder) cannot be used",
        ),
    ] {
        let line = flags.join(" ").replace(&*folder.path().to_string_lossy(), "");
        let said = match Hub::start_with(BINARY, &flags).await {
            Ok(_) => "it started".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let last = said.lines().last().unwrap_or_default().to_owned();
        table.row(&line, said != "it started", true, &last, wanted);
    }
    table.done()
}
