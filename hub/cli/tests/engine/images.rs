//! Base images and images: from INITIALIZED to READY or ERROR, changed, deleted, their packages cached and removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use dispatch_fixtures::hub::Hub;
use serde_json::{Value, json};

use crate::bench::{Bench, skip};

const PATIENCE: Duration = Duration::from_secs(60);

/// A package of this machine: what is in it depends on no registry.
fn package(bench: &Bench, name: &str) -> Result<String> {
    let text = json!({"name": name, "version": "1.0.0", "main": "index.js"}).to_string();
    let file = bench.file(&format!("{name}/package.json"), &text)?;
    bench.file(&format!("{name}/index.js"), "module.exports = 'hi';")?;
    let folder = Path::new(&file).parent().context("it lies in a folder")?;
    let manifest = json!({"dependencies": {name: format!("file:{}", folder.display())}});
    bench.file(&format!("{name}.json"), &manifest.to_string())
}

fn folder_of(image: &Value) -> PathBuf {
    PathBuf::from(
        image["dockerUrl"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("file://"),
    )
}

fn count(hub: &Hub, kind: &str) -> Result<usize> {
    Ok(hub.json(&["get", kind])?.as_array().map_or(0, Vec::len))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn images_come_change_and_go() -> Result<()> {
    let bench = Bench::start().await?;
    let hub = &bench.hub;

    let created = hub.json(&[
        "create",
        "base-image",
        "py",
        "x/python3:1",
        "--language",
        "python3",
    ])?;
    assert_eq!(created["status"], "INITIALIZED", "{created}");
    assert_eq!(bench.settled("base-image", "py").await?["status"], "READY");
    hub.ok(&[
        "create",
        "base-image",
        "missing",
        "missing/image:latest",
        "--language",
        "cobol",
    ])?;
    let missing = bench.settled("base-image", "missing").await?;
    assert_eq!(
        (&missing["status"], missing["reason"].as_array().map(Vec::len)),
        (&json!("ERROR"), Some(1))
    );
    assert_eq!(count(hub, "base-images")?, 2);
    hub.ok(&["create", "image", "py", "py"])?;
    assert_eq!(bench.settled("image", "py").await?["status"], "READY");

    let described = "
kind: BaseImage
name: py
dockerUrl: x/nodejs:2
language: nodejs
tags: [{key: role, value: update}]
---
kind: Image
name: py
baseImageName: py
tags: [{key: update, value: yes}]
";
    let file = bench.file("images.yaml", described)?;
    hub.ok(&["update", "-f", &file])?;
    let (base, image) = (
        bench.settled("base-image", "py").await?,
        bench.settled("image", "py").await?,
    );
    assert_eq!(
        (&base["language"], &image["language"]),
        (&json!("nodejs"), &json!("nodejs"))
    );
    assert_eq!(
        (&image["tags"][0]["key"], &image["status"]),
        (&json!("update"), &json!("READY"))
    );
    let nobody = bench.file(
        "nobody.yaml",
        "kind: BaseImage\nname: nobody\ndockerUrl: x\nlanguage: nodejs\n",
    )?;
    assert_eq!(hub.cli(&["update", "-f", &nobody])?.status.code(), Some(1));
    assert_eq!(hub.cli(&["create", "image", "py", "py"])?.status.code(), Some(1));

    hub.ok(&["delete", "-f", &file])?;
    hub.ok(&["delete", "base-image", "missing"])?;
    assert_eq!((count(hub, "images")?, count(hub, "base-images")?), (0, 0));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_packages_are_installed_once_and_go_with_the_last_that_needs_them() -> Result<()> {
    let bench = Bench::start().await?;
    let hub = &bench.hub;
    let manifest = package(&bench, "greet")?;
    hub.ok(&["create", "base-image", "node", "x/y:1", "--language", "nodejs"])?;

    hub.ok(&["create", "image", "first", "node", "--runtime-deps", &manifest])?;
    let first = bench.settled("image", "first").await?;
    assert_eq!(first["status"], "READY", "{first}");
    hub.ok(&["create", "image", "second", "node", "--runtime-deps", &manifest])?;
    let second = bench.settled("image", "second").await?;
    let folder = folder_of(&first);
    assert!(
        folder.join("node_modules/greet").exists() && folder_of(&second) == folder,
        "{second}"
    );
    let log = hub.ok(&["get", "image", "second", "--log"])?;
    assert!(log.contains("the same is installed already"), "{log}");
    assert!(
        hub.ok(&["get", "image", "first", "--log"])?
            .contains("installing into")
    );

    let code = bench.file("hello.js", "module.exports = () => require('greet');")?;
    bench.function("hello", "first", &code, &[]).await?;
    assert_eq!(bench.exec("hello", "{}", &[])?["output"], "hi");
    // A function that runs keeps the packages when no image names them any more.
    hub.ok(&["delete", "image", "second"])?;
    hub.ok(&["delete", "image", "first"])?;
    assert_eq!(bench.exec("hello", "{}", &[])?["output"], "hi");
    assert!(folder.exists());
    assert_eq!(
        hub.cli(&["get", "image", "first", "--log"])?.status.code(),
        Some(1)
    );

    hub.ok(&["delete", "function", "hello"])?;
    hub.ok(&["create", "image", "other", "node"])?;
    hub.until("the folder nobody names is gone", PATIENCE, |hub| {
        // Any build that ends looks around.
        hub.ok(&["delete", "image", "other"])?;
        hub.ok(&["create", "image", "other", "node"])?;
        Ok(!folder.exists())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_ends_when_its_image_is_deleted_and_what_it_started_with_it() -> Result<()> {
    let bench = Bench::start().await?;
    let hub = &bench.hub;
    // A package whose installation tells its process group, and does not end.
    let script = bench.file("slow/setup.sh", "ps -o pgid= -p $$ > group; sleep 600")?;
    let slow = Path::new(&script)
        .parent()
        .context("it lies in a folder")?
        .to_owned();
    let package = json!({"name": "slow", "version": "1.0.0", "scripts": {"preinstall": format!("cd {} && sh setup.sh", slow.display())}});
    bench.file("slow/package.json", &package.to_string())?;
    let manifest = json!({"dependencies": {}, "scripts": package["scripts"]});
    let manifest = bench.file("slow.json", &manifest.to_string())?;
    hub.ok(&["create", "base-image", "node", "x/y:1", "--language", "nodejs"])?;
    hub.ok(&["create", "image", "slow", "node", "--runtime-deps", &manifest])?;
    let group = slow.join("group");
    hub.until("the installation goes on", PATIENCE, |_| {
        Ok(group.exists() && !std::fs::read_to_string(&group)?.trim().is_empty())
    })
    .await?;
    let group = std::fs::read_to_string(&group)?.trim().to_owned();
    assert_eq!(hub.json(&["get", "image", "slow"])?["status"], "CREATING");

    hub.ok(&["delete", "image", "slow"])?;

    let living = || -> Result<bool> {
        let all = std::process::Command::new("ps")
            .args(["-eo", "pgid=,stat="])
            .output()?;
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        Ok(all.lines().any(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.first() == Some(&group.as_str()) && !fields.get(1).is_some_and(|s| s.starts_with('Z'))
        }))
    };
    hub.until("the installation is gone", PATIENCE, |_| Ok(!living()?))
        .await?;
    hub.until("its folder is gone", PATIENCE, |hub| {
        let left = std::fs::read_dir(hub.data().join("images"))?.flatten();
        Ok(left
            .filter(|e| e.file_name().to_string_lossy().starts_with("partial-"))
            .count()
            == 0)
    })
    .await
}

/// Debian's own Maven repository: no registry is asked.
const REPOSITORY: &str = "/usr/share/maven-repo";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_libraries_of_java_and_clojure_images_come_by_maven() -> Result<()> {
    let plugin = Path::new(REPOSITORY).join("org/apache/maven/plugins/maven-dependency-plugin");
    if !plugin.exists() || !Path::new(REPOSITORY).join("junit/junit/4.x").exists() {
        return skip("Debian's Maven repository has no maven-dependency-plugin or no junit");
    }
    let bench = Bench::start_in(&[("MAVEN_OPTS", &format!("-Dmaven.repo.local={REPOSITORY}"))]).await?;
    let pom = "<project><modelVersion>4.0.0</modelVersion><groupId>g</groupId><artifactId>a</artifactId><version>1</version>
        <dependencies><dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>4.x</version></dependency></dependencies></project>";
    let java = "
public class WithDeps implements java.util.function.BiFunction<Object, Object, Object> {
    public Object apply(Object context, Object payload) { return org.junit.Assert.class.getName(); }
}";
    if bench.image("java", pom).await?.is_some() {
        bench
            .function("with-deps", "java", &bench.file("WithDeps.java", java)?, &[])
            .await?;
        assert_eq!(bench.exec("with-deps", "{}", &[])?["output"], "org.junit.Assert");
    }
    let clojure = "(ns deps (:import org.junit.Assert)) (defn handle [c p] (.getName Assert))";
    if bench
        .image("clojure", "{:deps {junit/junit {:mvn/version \"4.x\"}}}")
        .await?
        .is_some()
    {
        bench
            .function("deps", "clojure", &bench.file("deps.clj", clojure)?, &[])
            .await?;
        assert_eq!(bench.exec("deps", "{}", &[])?["output"], "org.junit.Assert");
        let path = bench.file("git.edn", "{:deps {a/b {:git/url \"https://x/y\"}}}")?;
        bench
            .hub
            .ok(&["create", "image", "git", "clojure", "--runtime-deps", &path])?;
        let git = bench.settled("image", "git").await?;
        let reason = git["reason"][0].as_str().unwrap_or_default();
        assert!(reason.contains("a/b has no :mvn/version"), "{git}");
    }
    Ok(())
}
