//! Images on a real store, with the engine of local processes.

use std::time::{Duration, Instant};

use dispatch_schemas::SystemPackage;
use dispatch_sink_process::{Process, Settings};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::*;

async fn images(folder: &TempDir) -> Images {
    let store = Store::open(folder.path()).unwrap();
    let builds = Builds::new(CancellationToken::new(), TaskTracker::new());
    let images = Images::open(store, folder.path().join("images"), builds).unwrap();
    let engine = Process::open(Settings::new(folder.path().join("functions"))).unwrap();
    images.wire(Arc::new(engine)).await;
    images
}

fn base(language: &str) -> BaseImage {
    BaseImage {
        name: format!("{language}-base"),
        docker_url: "x/y:1".into(),
        language: language.into(),
        ..BaseImage::default()
    }
}

fn image(name: &str, language: &str, manifest: &str) -> Image {
    Image {
        name: name.into(),
        base_image_name: format!("{language}-base"),
        runtime_dependencies: Some(dispatch_schemas::RuntimeDependencies {
            manifest: manifest.into(),
        }),
        ..Image::default()
    }
}

async fn settled<R: Resource>(images: &Images, name: &str, status: fn(&R) -> Option<Status>) -> R {
    let start = Instant::now();
    loop {
        let found: R = images.0.store.get("o", name).await.unwrap();
        if matches!(status(&found), Some(Status::Ready | Status::Error)) {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "{name} is not finished"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_base_image_is_ready_when_its_language_runs_here() {
    let folder = TempDir::new().unwrap();
    let images = images(&folder).await;

    let created = images.create_base("o", base("python3")).await.unwrap();
    images.create_base("o", base("cobol")).await.unwrap();

    assert_eq!(created.status, Some(Status::Initialized));
    let python = settled::<BaseImage>(&images, "python3-base", |b| b.status).await;
    assert_eq!((python.status, python.reason), (Some(Status::Ready), None));
    let cobol = settled::<BaseImage>(&images, "cobol-base", |b| b.status).await;
    assert_eq!(cobol.status, Some(Status::Error));
    assert!(cobol.reason.unwrap()[0].contains("cobol"));

    let mended = BaseImage {
        language: "nodejs".into(),
        ..base("cobol")
    };
    images.update_base("o", "cobol-base", mended).await.unwrap();
    let mended = settled::<BaseImage>(&images, "cobol-base", |b| b.status).await;
    assert_eq!((mended.status, mended.reason), (Some(Status::Ready), None));
}

#[tokio::test]
async fn an_image_is_its_language_and_its_installed_dependencies() {
    let folder = TempDir::new().unwrap();
    let images = images(&folder).await;
    for language in ["nodejs", "python3", "cobol"] {
        images.create_base("o", base(language)).await.unwrap();
    }
    let package = folder.path().join("greet");
    std::fs::create_dir_all(&package).unwrap();
    std::fs::write(
        package.join("package.json"),
        r#"{"name":"greet","version":"1.0.0"}"#,
    )
    .unwrap();
    let manifest = format!(r#"{{"dependencies":{{"greet":"file:{}"}}}}"#, package.display());

    let packages = Image {
        system_dependencies: Some(dispatch_schemas::SystemDependencies {
            packages: vec![SystemPackage {
                name: "libxml2".into(),
                version: None,
            }],
        }),
        ..image("packages", "python3", "")
    };
    for image in [
        image("plain", "python3", ""),
        image("greet", "nodejs", &manifest),
        image("wrong", "nodejs", "left-pad"),
        image("cobol", "cobol", ""),
        packages,
    ] {
        images.create("o", image).await.unwrap();
    }
    let missing = images.create("o", image("x", "missing", "")).await.unwrap_err();
    assert_eq!(
        (missing.status.as_u16(), missing.message.as_str()),
        (400, "Error fetching base image missing-base")
    );

    assert_eq!(
        images.prepared("o", "plain").await.unwrap(),
        Prepared {
            language: "python3".into(),
            dependencies: None,
            url: "process:python3".into()
        }
    );
    let greet = images.prepared("o", "greet").await.unwrap();
    assert!(
        greet
            .dependencies
            .clone()
            .unwrap()
            .join("node_modules/greet")
            .exists()
    );
    for (name, reason) in [
        ("wrong", "must be a package.json"),
        ("cobol", "base image cobol-base is in ERROR"),
        ("packages", "install libxml2 on this machine"),
    ] {
        let error = images.prepared("o", name).await.unwrap_err();
        assert!(error.contains(reason), "{name}: {error}");
        let image = settled::<Image>(&images, name, |i| i.status).await;
        assert_eq!(
            (image.status, image.reason.unwrap().len()),
            (Some(Status::Error), 1)
        );
    }

    std::fs::remove_dir_all(greet.dependencies.unwrap()).unwrap();
    assert!(
        images
            .prepared("o", "greet")
            .await
            .unwrap_err()
            .contains("is gone")
    );
    images
        .update("o", "greet", image("greet", "nodejs", &manifest))
        .await
        .unwrap();
    assert!(
        images
            .prepared("o", "greet")
            .await
            .unwrap()
            .dependencies
            .unwrap()
            .exists()
    );
}
