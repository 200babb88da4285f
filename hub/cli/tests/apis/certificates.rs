//! The gateway's certificate: given, and exchanged while the hub runs.

use std::time::Duration;

use anyhow::{Result, ensure};
use dispatch_fixtures::hub::Hub;
use reqwest::{Certificate, Client};

use crate::{PATIENCE, Stage, told};

struct Pair {
    certificate: String,
    key: String,
}

fn make() -> Pair {
    make_for("127.0.0.1")
}

fn make_for(host: &str) -> Pair {
    let made = rcgen::generate_simple_self_signed(vec![host.to_owned()]).unwrap();
    Pair {
        certificate: made.cert.pem(),
        key: made.signing_key.serialize_pem(),
    }
}

fn trusting(pair: &Pair) -> Result<Client> {
    dispatch_fixtures::crypto();
    let certificate = Certificate::from_pem(pair.certificate.as_bytes())?;
    Ok(Client::builder()
        .timeout(Duration::from_secs(20))
        .tls_certs_only([certificate])
        .build()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_certificate_is_taken_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let write = |pair: &Pair| -> Result<()> {
        std::fs::write(file("key.pem"), &pair.key)?;
        Ok(std::fs::write(file("certificate.pem"), &pair.certificate)?)
    };
    let (old, new) = (make(), make());
    write(&old)?;
    let (certificate, key) = (file("certificate.pem"), file("key.pem"));
    let flags = [
        "--gateway-tls-cert",
        certificate.to_str().unwrap(),
        "--gateway-tls-key",
        key.to_str().unwrap(),
    ];
    let stage = Stage::with_flags(&["hello"], &flags).await?;
    stage.api("hello hello --path /hello --https-only")?;
    let url = format!("{}/dispatch/hello", stage.hub.gateway_tls());
    assert_eq!(told(trusting(&old)?.get(&url)).await?.status, 200);
    ensure!(
        trusting(&new)?.get(&url).send().await.is_err(),
        "nobody knows the new one yet"
    );

    write(&new)?;
    let reload = stage.http.post(stage.hub.url() + "/v1/reload").send().await?;
    // The hub may have seen it by itself already; without a file of settings there is then nothing to read.
    ensure!(reload.status() == 200 || reload.status() == 409, "{reload:?}");

    assert_eq!(told(trusting(&new)?.get(&url)).await?.status, 200);
    ensure!(
        trusting(&old)?.get(&url).send().await.is_err(),
        "the old one is gone"
    );

    // Half of a pair changes nothing.
    std::fs::write(file("key.pem"), make().key)?;
    let refused = stage.http.post(stage.hub.url() + "/v1/reload").send().await?;
    ensure!(refused.status() == 400, "{refused:?}");
    let log = |hub: &Hub| Ok(hub.stderr().contains("stays as it was"));
    stage.hub.until("it is told", PATIENCE, log).await?;
    assert_eq!(told(trusting(&new)?.get(&url)).await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_host_is_answered_with_its_own_certificate_and_a_new_one_without_a_restart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let put = |name: &str, pair: &Pair| -> Result<()> {
        std::fs::write(folder.path().join(name).with_extension("key"), &pair.key)?;
        let certificate = folder.path().join(name).with_extension("pem");
        Ok(std::fs::write(certificate, &pair.certificate)?)
    };
    let (shop, all) = (make_for("shop.example.org"), make_for("*.example.net"));
    put("1", &shop)?;
    put("2", &all)?;
    let flags = ["--gateway-tls-folder", folder.path().to_str().unwrap()];
    let stage = Stage::with_flags(&["hello"], &flags).await?;
    stage.api("hello hello --path /hello --https-only")?;
    let port = reqwest::Url::parse(&stage.hub.gateway_tls())?.port().unwrap();
    let own = Pair {
        certificate: std::fs::read_to_string(stage.hub.data().join("gateway/certificate.pem"))?,
        key: String::new(),
    };
    // What a client that trusts only this certificate hears at a host.
    let ask = async |host: &str, trusted: &Pair| -> Result<Option<u16>> {
        dispatch_fixtures::crypto();
        let client = Client::builder()
            .timeout(Duration::from_secs(20))
            .tls_certs_only([Certificate::from_pem(trusted.certificate.as_bytes())?])
            .resolve(host, ([127, 0, 0, 1], port).into())
            .build()?;
        let answer = client
            .get(format!("https://{host}:{port}/dispatch/hello"))
            .send()
            .await;
        Ok(answer.ok().map(|answer| answer.status().as_u16()))
    };

    for (host, trusted, expected) in [
        ("shop.example.org", &shop, Some(200)),
        ("shop.example.org", &own, None),
        ("a.example.net", &all, Some(200)),
        ("a.example.net", &shop, None),
        ("localhost", &own, Some(200)),
        ("localhost", &all, None),
    ] {
        let heard = ask(host, trusted).await?;
        println!("{host}: {heard:?}");
        assert_eq!(heard, expected, "{host}");
    }

    let (newer, late) = (make_for("shop.example.org"), make_for("late.example.org"));
    put("1", &newer)?;
    put("3", &late)?;
    let reload = stage.http.post(stage.hub.url() + "/v1/reload").send().await?;
    // The hub may have seen it by itself already; without a file of settings there is then nothing to read.
    ensure!(reload.status() == 200 || reload.status() == 409, "{reload:?}");
    assert_eq!(ask("shop.example.org", &newer).await?, Some(200));
    assert_eq!(ask("late.example.org", &late).await?, Some(200));
    assert_eq!(ask("shop.example.org", &shop).await?, None, "the old one is gone");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_without_its_certificate_does_not_start_and_says_why() -> Result<()> {
    let flags = [
        "--gateway-tls-cert",
        "/nonexistent.pem",
        "--gateway-tls-key",
        "/nonexistent.key",
    ];

    let Err(error) = Hub::start_with(env!("CARGO_BIN_EXE_dispatch"), &flags).await else {
        anyhow::bail!("it started");
    };

    let said = format!("{error:#}");
    ensure!(
        said.contains("/nonexistent.pem (gateway-tls-cert) cannot be used"),
        "{said}"
    );
    Ok(())
}
