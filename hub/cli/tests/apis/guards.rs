//! Who may call: each kind of authentication, with what is right and with what only looks like it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::{Stage, told, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_lets_its_consumer_in_until_it_is_changed_and_no_key_nobody() -> Result<()> {
    let stage = Stage::with(&["debug"]).await?;
    stage.write("keys.json", r#"{"shop":"key-1","bot":"key-2"}"#)?;
    stage.hub.ok(&["create", "secret", "keys", "keys.json"])?;
    stage.api("d debug --method POST --path /d --auth api-key --auth-secret keys --consumer-rate 5")?;
    stage.api("h debug --method POST --path /h --auth api-key --auth-secret keys --auth-header X-Mine")?;
    stage.api("m debug --method POST --path /m --auth api-key --auth-secret missing")?;

    let with =
        |path: &str, header: &str, key: &str| stage.ask(&format!("POST /dispatch{path}")).header(header, key);
    let answer = told(with("/d", "x-api-key", "key-2")).await?;
    assert_eq!(answer.status, 200);
    let http = &answer.body["context"]["httpContext"];
    assert_eq!(http["consumer"], "bot");
    ensure!(!http.to_string().contains("key-2"), "{http}");
    assert_eq!(told(with("/h", "x-mine", "key-1")).await?.status, 200);
    for (path, header, key) in [
        ("/d", "x-api-key", "key-3"),
        ("/d", "x-api-key", ""),
        ("/d", "x-api-key", "bot"),
        ("/d", "x-other", "key-2"),
        ("/h", "x-api-key", "key-1"),
    ] {
        let refused = with(path, header, key).send().await?;
        assert_eq!(refused.status(), 401, "{path} {header} {key}");
        ensure!(refused.headers().contains_key("www-authenticate"));
    }
    assert_eq!(
        told(with("/m", "x-api-key", "key-1")).await?.status,
        503,
        "its secret is missing"
    );

    let mut codes = [[0; 10]; 2];
    for (consumer, key) in ["key-1", "key-2"].into_iter().enumerate() {
        for code in &mut codes[consumer] {
            *code = told(with("/d", "x-api-key", key)).await?.status;
        }
    }
    for of_one in codes {
        ensure!(of_one.contains(&200), "each has a rate of their own: {codes:?}");
    }

    stage.write("keys.yaml", "kind: Secret\nname: keys\nsecrets: {shop: key-9}\n")?;
    stage.hub.ok(&["update", "-f", "keys.yaml"])?;
    until(
        "the new key counts",
        || with("/h", "x-mine", "key-9"),
        |told| told.status == 200,
    )
    .await?;
    assert_eq!(told(with("/h", "x-mine", "key-1")).await?.status, 401);
    let runs = stage.hub.ok(&["get", "runs", "-o", "json"])?
        + &stage
            .hub
            .ok(&["get", "events", "--type", "dispatch.api.called", "-o", "json"])?;
    ensure!(
        !runs.contains("key-1") && !runs.contains("key-9"),
        "a key is told"
    );
    ensure!(!stage.hub.stderr().contains("key-1"), "a key is logged");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_have_passwords_and_web_hooks_signatures() -> Result<()> {
    let stage = Stage::with(&["debug"]).await?;
    stage.write("users.json", r#"{"ann":"a:b"}"#)?;
    stage.hub.ok(&["create", "secret", "users", "users.json"])?;
    stage.write("hooks.json", r#"{"github":"It's a Secret to Everybody"}"#)?;
    stage.hub.ok(&["create", "secret", "hooks", "hooks.json"])?;
    stage.api("b debug --method POST --path /b --auth basic --auth-secret users")?;
    stage.api("w debug --method POST --path /w --auth hmac --auth-secret hooks")?;

    let basic = |user: &str, password: &str| stage.ask("POST /dispatch/b").basic_auth(user, Some(password));
    let answer = told(basic("ann", "a:b")).await?;
    assert_eq!(
        (answer.status, &answer.body["context"]["httpContext"]["consumer"]),
        (200, &json!("ann"))
    );
    for (user, password) in [("ann", "a"), ("ann", ""), ("bob", "a:b"), ("", "")] {
        assert_eq!(
            told(basic(user, password)).await?.status,
            401,
            "{user}:{password}"
        );
    }
    let none = stage.ask("POST /dispatch/b").send().await?;
    assert_eq!(none.status(), 401);
    ensure!(
        none.headers()["www-authenticate"]
            .to_str()?
            .starts_with("Basic realm=")
    );

    // GitHub's own example (docs.github.com, "Validating webhook deliveries").
    let tag = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let hook = |tag: &str, body: &'static str| {
        let request = stage.ask("POST /dispatch/w").header("content-type", "text/plain");
        request.header("x-hub-signature-256", tag).body(body)
    };
    assert_eq!(told(hook(tag, "Hello, World!")).await?.status, 200);
    assert_eq!(told(hook(tag, "Hello, World")).await?.status, 401);
    assert_eq!(told(hook("sha256=00", "Hello, World!")).await?.status, 401);
    assert_eq!(
        told(stage.ask("POST /dispatch/w").body("Hello, World!"))
            .await?
            .status,
        401
    );
    Ok(())
}

/// Who issues tokens, and the keys they can be checked with.
struct Issuer {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random);
        Self {
            pair: pair.unwrap(),
            random,
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let point = self.pair.public_key().as_ref();
        let (x, y) = (
            URL_SAFE_NO_PAD.encode(&point[1..33]),
            URL_SAFE_NO_PAD.encode(&point[33..]),
        );
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid, "x": x, "y": y})
    }

    fn token(&self, header: Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let tag = self.pair.sign(&self.random, signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }
}

fn unsigned(header: Value, claims: &Value) -> String {
    let [header, claims] = [&header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    format!("{header}.{claims}")
}

fn hs256(secret: &[u8], header: Value, claims: &Value) -> String {
    let signed = unsigned(header, claims);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims(change: Value) -> Value {
    let mut claims = json!({"sub": "ann", "iss": "https://id.example.org", "aud": "hub", "exp": now() + 600});
    for (key, value) in change.as_object().unwrap() {
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(key),
            value => claims.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    claims
}

/// Serves a key set; says where, and how often it was asked.
async fn serve(set: Value) -> Result<(String, Arc<AtomicUsize>)> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let routes = Router::new().route(
        "/keys",
        get(move || async move {
            count.fetch_add(1, Ordering::Relaxed);
            set.to_string()
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/keys", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok((url, asked))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_whom_its_issuer_signed_for() -> Result<()> {
    let stage = Stage::with(&["debug"]).await?;
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let (url, asked) = serve(json!({"keys": [issuer.jwk("one")]})).await?;
    stage.api(&format!(
        "u debug --method POST --path /u --auth jwt --jwks-url {url} --issuer https://id.example.org --audience hub"
    ))?;
    let secret = "a shared secret of some length";
    stage.write(
        "jwt.json",
        &json!({ "shared": secret, "set": json!({"keys": [issuer.jwk("one")]}).to_string() }).to_string(),
    )?;
    stage.hub.ok(&["create", "secret", "jwt", "jwt.json"])?;
    stage.api("s debug --method POST --path /s --auth jwt --auth-secret jwt --audience hub")?;

    let with = |path: &str, token: &str| stage.ask(&format!("POST /dispatch{path}")).bearer_auth(token);
    let header = || json!({"alg": "ES256", "typ": "JWT", "kid": "one"});
    let good = issuer.token(header(), &claims(json!({"role": "admin"})));
    for path in ["/u", "/s"] {
        let answer = told(with(path, &good)).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let http = &answer.body["context"]["httpContext"];
        assert_eq!(
            (&http["consumer"], &http["claims"]["role"]),
            (&json!("ann"), &json!("admin"))
        );
        ensure!(!http.to_string().contains(&good), "the token is told");
    }
    let shared = hs256(secret.as_bytes(), json!({"alg": "HS256"}), &claims(json!({})));
    assert_eq!(told(with("/s", &shared)).await?.status, 200);

    let point = issuer.pair.public_key().as_ref().to_vec();
    let tampered = {
        let parts: Vec<_> = good.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(claims(json!({"sub": "eve"})).to_string());
        format!("{}.{other}.{}", parts[0], parts[2])
    };
    let bad = [
        (
            "another's signature",
            stranger.token(header(), &claims(json!({}))),
        ),
        ("other claims", tampered),
        (
            "no signature",
            unsigned(json!({"alg": "none"}), &claims(json!({}))) + ".",
        ),
        (
            "the public key as a shared secret",
            hs256(&point, json!({"alg": "HS256", "kid": "one"}), &claims(json!({}))),
        ),
        (
            "past",
            issuer.token(header(), &claims(json!({"exp": now() - 600}))),
        ),
        (
            "without an end",
            issuer.token(header(), &claims(json!({"exp": null}))),
        ),
        (
            "not yet",
            issuer.token(header(), &claims(json!({"nbf": now() + 600}))),
        ),
        (
            "another issuer",
            issuer.token(header(), &claims(json!({"iss": "https://evil.example.org"}))),
        ),
        ("no issuer", issuer.token(header(), &claims(json!({"iss": null})))),
        (
            "for somebody else",
            issuer.token(header(), &claims(json!({"aud": ["other"]}))),
        ),
        (
            "for nobody",
            issuer.token(header(), &claims(json!({"aud": null}))),
        ),
        (
            "an unknown key",
            issuer.token(json!({"alg": "ES256", "kid": "two"}), &claims(json!({}))),
        ),
        (
            "another algorithm",
            issuer.token(json!({"alg": "ES384", "kid": "one"}), &claims(json!({}))),
        ),
        ("nonsense", "a.b.c".to_owned()),
        ("base64 of nothing", STANDARD.encode("{}")),
    ];
    for (what, token) in bad {
        let answer = told(with("/u", &token)).await?;
        println!("{what}: {} {}", answer.status, answer.body);
        assert_eq!(answer.status, 401, "{what}");
    }
    assert_eq!(told(stage.ask("POST /dispatch/u")).await?.status, 401);
    ensure!(
        asked.load(Ordering::Relaxed) <= 2,
        "strangers make the issuer be asked: {asked:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_away_lets_nobody_in() -> Result<()> {
    let stage = Stage::with(&["debug"]).await?;
    let port = dispatch_fixtures::hub::free_port()?;
    stage.api(&format!(
        "u debug --method POST --path /u --auth jwt --jwks-url http://127.0.0.1:{port}/keys"
    ))?;

    let token = Issuer::new().token(json!({"alg": "ES256"}), &claims(json!({})));
    let answer = told(stage.ask("POST /dispatch/u").bearer_auth(token)).await?;

    assert_eq!(answer.status, 503, "{answer:?}");
    Ok(())
}
