//! What an operator says of containment, and what functions are told.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Machine, attempts, exec, function, hub};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_what_the_function_asks_for_up_to_the_operators_maximum() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("hub.yaml");
    std::fs::write(&file, "functions: {maximum: {memory: 268435456}}\n")?;
    let machine = Machine::without_bubblewrap()?;
    let hub = hub(&machine, &["--config", &file.to_string_lossy()]).await?;
    let eats = "def handle(c, p):\n    return len(b'x' * (p << 20))\n";

    let made = function(
        &hub,
        "eats",
        "python3",
        eats,
        &["--memory", "128Mi", "--cpu", "0.5"],
    )
    .await?;
    ensure!(
        made["limits"] == json!({"memory": 134217728, "cpu": 0.5}),
        "{made}"
    );
    let (small, _) = exec(&hub, "eats", &json!(16))?;
    let (large, _) = exec(&hub, "eats", &json!(500))?;

    ensure!(small["output"] == json!(16 << 20), "{small}");
    ensure!(large["status"] == "ERROR", "{large}");
    let in_force = made["protections"]["inForce"].to_string();
    let message = large["error"]["message"].as_str().unwrap_or_default();
    if in_force.contains("cgroups") {
        ensure!(message.contains("128 MiB"), "{message}");
    }

    // And what is too much is refused at once, with the setting.
    for (flags, problem) in [
        (["--memory", "512Mi"], "limits.memory: must be at most 268435456"),
        (["--processes", "5000"], "limits.processes: must be at most 1024"),
        (["--network", "--timeout=1"], "functions.network"),
        (["--cpu", "0"], "limits.cpu"),
    ] {
        let path = hub.scratch().join("eats.py");
        let path = path.to_string_lossy();
        let mut args = vec!["create", "function", "more", "--image", "python3", &path];
        args.extend(flags);
        let output = hub.cli(&args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains(problem),
            "{flags:?}: {said}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_function_reaches_the_network_when_it_asks_and_the_operator_allows_it() -> Result<()> {
    let Some(machine) = Machine::with_bubblewrap()? else {
        return Ok(());
    };
    let hub = hub(&machine, &["--function-network"]).await?;
    let calls =
        "import urllib.request\ndef handle(c, p):\n    return urllib.request.urlopen(p, timeout=5).status\n";
    let health = json!(format!("{}/healthz", hub.url()));

    function(&hub, "asks", "python3", calls, &["--network"]).await?;
    function(&hub, "silent", "python3", calls, &[]).await?;

    let (asks, _) = exec(&hub, "asks", &health)?;
    ensure!(asks["output"] == json!(200), "{asks}");
    let (silent, _) = exec(&hub, "silent", &health)?;
    ensure!(silent["status"] == "ERROR", "{silent}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_everything_is_required_a_machine_that_lacks_something_deploys_nothing_and_says_why()
-> Result<()> {
    let machine = Machine::without_bubblewrap()?;
    let hub = hub(&machine, &["--sandbox", "required"]).await?;

    let made = function(&hub, "victim", "python3", attempts::VICTIM, &[]).await?;

    ensure!(made["status"] == "ERROR", "{made}");
    for text in [made["reason"].to_string(), hub.stderr()] {
        ensure!(text.contains("--sandbox required"), "{text}");
        ensure!(text.contains("no `bwrap` on PATH"), "{text}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_says_at_its_start_and_on_functions_what_is_in_force_and_what_is_not() -> Result<()> {
    let machine = Machine::without_bubblewrap()?;
    let best = hub(&machine, &[]).await?;
    let made = function(&best, "victim", "python3", attempts::VICTIM, &[]).await?;
    let protections = &made["protections"];
    let missing = protections["missing"].to_string();
    ensure!(
        missing.contains("bubblewrap (no `bwrap` on PATH)"),
        "{protections}"
    );
    ensure!(
        protections["inForce"].to_string().contains("landlock"),
        "{protections}"
    );
    ensure!(best.stderr().contains("landlock"), "{}", best.stderr());

    let off = hub(&machine, &["--sandbox", "off"]).await?;
    let made = function(&off, "victim", "python3", attempts::VICTIM, &[]).await?;
    ensure!(made["protections"]["inForce"] == json!([]), "{made}");
    ensure!(
        off.stderr().contains("functions are not contained"),
        "{}",
        off.stderr()
    );
    Ok(())
}
