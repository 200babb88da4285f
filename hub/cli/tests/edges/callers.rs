//! Callers of APIs who are not let in: nobody, somebody else, and those who say it in a way that could be taken for right.

use anyhow::Result;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

use crate::stage::{Stage, Table, told};

const FUNCTION: &str = "def handle(context, payload):\n    return context['httpContext'].get('consumer')\n";

/// Who calls, at which path, with which headers; the status, what the answer says, and how it asks for credentials.
type Row<'a> = (&'a str, &'a str, Vec<(&'a str, String)>, u16, &'a str, &'a str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_rightly_who_they_are_hears_what_is_missing_and_nothing_of_what_is_right()
-> Result<()> {
    let stage = Stage::start().await?;
    stage.ready("who", FUNCTION, json!({})).await?;
    let keys = stage.file("keys.json", r#"{"shop":"key-1"}"#)?;
    let users = stage.file("users.json", r#"{"ann":"open-sesame"}"#)?;
    let shared = stage.file("shared.json", r#"{"one":"a shared secret of some length"}"#)?;
    for (name, file) in [("keys", &keys), ("users", &users), ("shared", &shared)] {
        stage.hub.ok(&["create", "secret", name, file])?;
    }
    for line in [
        "key who --method POST --path /key --auth api-key --auth-secret keys",
        "basic who --method POST --path /basic --auth basic --auth-secret users",
        "jwt who --method POST --path /jwt --auth jwt --auth-secret shared --audience hub",
        "hmac who --method POST --path /hmac --auth hmac --auth-secret shared",
        "gone who --method POST --path /gone --auth basic --auth-secret nowhere",
        "unreachable who --method POST --path /unreachable --auth jwt --jwks-url http://127.0.0.1:9/keys",
    ] {
        stage.api(line)?;
    }
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let claiming = |head: &str, signature: &str| {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let claims = r#"{"sub":"ann","aud":"hub","exp":4102444800}"#;
        format!("Bearer {}.{}.{signature}", part(head), part(claims))
    };
    let none = claiming(r#"{"alg":"none"}"#, "");
    let signed = claiming(r#"{"alg":"RS256","kid":"1"}"#, "c2lnbmVk");
    let long = format!("Bearer {}", "x".repeat(20_000));
    let auth = "authorization";
    let key = "x-api-key";
    let hub = "x-hub-signature-256";
    let sha1 = format!("sha1={}", "0".repeat(40));
    let zeros = format!("sha256={}", "0".repeat(64));
    let token = "Bearer";
    let rows: Vec<Row> = vec![
        (
            "no key",
            "/key",
            vec![],
            401,
            "send it once, as x-api-key",
            "ApiKey",
        ),
        (
            "an empty key",
            "/key",
            vec![(key, String::new())],
            401,
            "the API key is not known",
            "ApiKey",
        ),
        (
            "the consumer's name",
            "/key",
            vec![(key, "shop".to_owned())],
            401,
            "the API key is not known",
            "ApiKey",
        ),
        (
            "the beginning of a key",
            "/key",
            vec![(key, "key-".to_owned())],
            401,
            "the API key is not known",
            "ApiKey",
        ),
        (
            "two keys",
            "/key",
            vec![(key, "key-1".to_owned()), (key, "key-2".to_owned())],
            401,
            "send it once",
            "ApiKey",
        ),
        (
            "the key as a bearer token",
            "/key",
            vec![(auth, "Bearer key-1".to_owned())],
            401,
            "send it once, as x-api-key",
            "ApiKey",
        ),
        (
            "nobody",
            "/basic",
            vec![],
            401,
            "user and password are required",
            "Basic realm",
        ),
        (
            "no base64",
            "/basic",
            vec![(auth, "Basic ???".to_owned())],
            401,
            "user and password are required",
            "Basic realm",
        ),
        (
            "no colon",
            "/basic",
            vec![(auth, basic("ann"))],
            401,
            "user and password are required",
            "Basic realm",
        ),
        (
            "another scheme",
            "/basic",
            vec![(auth, "Digest username=\"ann\"".to_owned())],
            401,
            "user and password are required",
            "Basic realm",
        ),
        (
            "a wrong password",
            "/basic",
            vec![(auth, basic("ann:x"))],
            401,
            "user or password is wrong",
            "Basic realm",
        ),
        (
            "a wrong user",
            "/basic",
            vec![(auth, basic("bob:open-sesame"))],
            401,
            "user or password is wrong",
            "Basic realm",
        ),
        (
            "an empty password",
            "/basic",
            vec![(auth, basic("ann:"))],
            401,
            "user or password is wrong",
            "Basic realm",
        ),
        (
            "no token",
            "/jwt",
            vec![],
            401,
            "a token is required, as Authorization: Bearer",
            "Bearer",
        ),
        (
            "a token that is none",
            "/jwt",
            vec![(auth, format!("{token} abc"))],
            401,
            "the token is no JWT",
            "Bearer",
        ),
        (
            "a token without a signature",
            "/jwt",
            vec![(auth, none)],
            401,
            "token",
            "Bearer",
        ),
        (
            "a token of 20 kB",
            "/jwt",
            vec![(auth, long)],
            401,
            "the token is too long",
            "Bearer",
        ),
        (
            "a user instead of a token",
            "/jwt",
            vec![(auth, basic("ann:x"))],
            401,
            "a token is required",
            "Bearer",
        ),
        (
            "no signature",
            "/hmac",
            vec![],
            401,
            "send it once, as x-hub-signature-256",
            "Signature",
        ),
        (
            "a signature of another kind",
            "/hmac",
            vec![(hub, sha1)],
            401,
            "no HMAC-SHA256 in hex or base64",
            "Signature",
        ),
        (
            "another signature",
            "/hmac",
            vec![(hub, zeros.clone())],
            401,
            "does not fit the body",
            "Signature",
        ),
        (
            "two signatures",
            "/hmac",
            vec![(hub, zeros.clone()), (hub, zeros)],
            401,
            "send it once",
            "Signature",
        ),
        (
            "a secret that is not there",
            "/gone",
            vec![(auth, basic("ann:x"))],
            503,
            "callers cannot be checked now",
            "",
        ),
        (
            "keys that cannot be fetched",
            "/unreachable",
            vec![(auth, signed)],
            503,
            "callers cannot be checked now",
            "",
        ),
    ];

    let mut table = Table::new("caller | status | what came back");
    for (what, path, headers, status, wanted, challenge) in rows {
        let mut request = stage.ask(&format!("POST /dispatch{path}"));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let answer = told(request).await?;
        table.row(what, answer.status, status, &answer.said(), wanted);
        let said = answer
            .headers
            .get("www-authenticate")
            .map_or("", |value| value.to_str().unwrap());
        table.row(
            "… how to say it",
            said.starts_with(challenge),
            true,
            said,
            challenge,
        );
        let all = answer.body.to_string();
        for secret in ["key-1", "open-sesame", "a shared secret"] {
            assert!(!all.contains(secret), "{what}: {all}");
        }
    }
    let known = stage.ask("POST /dispatch/key").header(key, "key-1");
    let known = told(known).await?;
    table.row("the key", known.status, 200, &known.body.to_string(), "shop");
    table.done()
}
