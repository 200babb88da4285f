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
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
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
    ensure!(refused.status() == 400 || refused.status() == 409, "{refused:?}");
    stage
        .hub
        .until("it is told", PATIENCE, |hub| {
            Ok(refused.status() == 400 || hub.stderr().contains("stays as it was"))
        })
        .await?;
    assert_eq!(told(trusting(&new)?.get(&url)).await?.status, 200);
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
