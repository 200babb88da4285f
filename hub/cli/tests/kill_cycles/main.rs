//! `kill -9` of the real hub at random points, under load, again and again; then the accounts are checked.
//!
//! `KILL_CYCLES` (200), `KILL_RATE` (events a second, 2000), `KILL_SEED` and `DISPATCH_BINARY` change it: `make
//! soak` does 2,000 cycles. Producers post on until they are acknowledged, so that afterwards everything must
//! be there; the web hooks count; the journal is read while the hub is dead.
// Helpers outside #[test] functions may unwrap here: a panic is how a test fails.
#![allow(clippy::unwrap_used)]

mod hooks;
mod ledger;
mod producers;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use dispatch_fixtures::hub::Hub;
use dispatch_fixtures::process::until;
use hooks::{Hooks, Id, NAMES, is_refused};
use ledger::Ledger;
use producers::Producers;

/// Attempts under way at once, of each subscription: few, so that the bound is near.
const IN_FLIGHT: usize = 32;
/// What one kill may repeat of a subscription: those, and as many settlements that the journal has not written.
const MOST_REPEATS: usize = 2 * IN_FLIGHT;
/// The shortest and the longest time a hub lives after it takes events, in milliseconds.
const LIFE: std::ops::Range<u64> = 40..400;
/// How long everything owed may take to be delivered in the end.
const PATIENCE: Duration = Duration::from_secs(120);

fn setting<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// The three subscriptions; their names by their ids.
fn subscribe(hub: &Hub, hooks: &Hooks) -> Result<HashMap<String, String>> {
    let in_flight = IN_FLIGHT.to_string();
    for name in NAMES {
        let url = hooks.url(name);
        let mut args = vec![
            "create",
            "subscription",
            "--name",
            name,
            "--event-type",
            "test.happened",
        ];
        args.extend(["--sink", &url, "--max-in-flight", &in_flight]);
        args.extend(["--retry", "3", "--backoff-delay", "PT0.02S"]);
        if name == "ordered" {
            args.extend(["--order", "key"]);
        }
        hub.ok(&args)?;
    }
    let listed = hub.json(&["get", "subscriptions"])?;
    let named = |item: &serde_json::Value| {
        let text = |name: &str| Some(item[name].as_str()?.to_owned());
        Some((text("id")?, text("name")?))
    };
    listed
        .as_array()
        .into_iter()
        .flatten()
        .map(|item| named(item).context("a subscription"))
        .collect()
}

/// Waits until every event is settled for every subscription, as far as the web hooks can tell.
async fn delivered(hub: &Hub, hooks: &Hooks, acknowledged: &[u32]) -> Result<()> {
    let all = || {
        acknowledged
            .iter()
            .zip(0u32..)
            .flat_map(|(count, key)| (0..*count).map(move |n| (key, n)))
    };
    for (lane, name) in NAMES.iter().enumerate() {
        let mut left: Vec<Id> = all()
            .filter(|id| *name != "failing" || !is_refused(*id))
            .collect();
        let waited = until(name, PATIENCE, async || {
            let seen = hooks.seen(lane);
            left.retain(|id| seen.times(*id) == 0);
            Ok(left.is_empty())
        });
        if let Err(error) = waited.await {
            let pending = hub.json(&["get", "deliveries", "--subscription", name])?;
            let (count, first) = (left.len(), left.first().copied());
            let of = pending.as_array().map_or(0, Vec::len);
            return Err(error).with_context(|| {
                let next = &pending[0];
                format!("{count} acknowledged and not delivered to {name}, the first {first:?}; {of} pending, the next {next}")
            });
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_moment_the_hub_is_killed_at_the_accounts_balance() -> Result<()> {
    let binary = setting("DISPATCH_BINARY", env!("CARGO_BIN_EXE_dispatch").to_owned());
    let cycles: u32 = setting("KILL_CYCLES", 200);
    let rate: u32 = setting("KILL_RATE", 2000);
    let seed: u64 = setting("KILL_SEED", fastrand::u64(..));
    println!("KILL_SEED={seed} KILL_CYCLES={cycles} KILL_RATE={rate}");
    let mut random = fastrand::Rng::with_seed(seed);

    // Given three subscriptions and four producers that never give up
    let hooks = Hooks::start().await?;
    let mut hub = Hub::start(&binary).await?;
    let names = subscribe(&hub, &hooks)?;
    let producers = Producers::start(hub.port(), rate);

    // When the hub is killed again and again
    let began = Instant::now();
    let mut alive = Duration::ZERO;
    for _ in 0..cycles {
        let since = Instant::now();
        // The moment of the kill is what is tried; nothing is waited for here.
        tokio::time::sleep(Duration::from_millis(random.u64(LIFE))).await;
        hub.kill()?;
        alive += since.elapsed();
        hooks.new_life().await?;
        hub.run().await?;
    }
    let took = began.elapsed();

    // Then, when it is killed for the last time, what is settled was delivered, and the rest is owed
    hub.kill()?;
    let dead = Ledger::read(&binary, &hub.data(), &names)?;
    hooks.new_life().await?;
    hub.run().await?;
    let acknowledged = producers.finish().await?;
    delivered(&hub, &hooks, &acknowledged).await?;
    let disorder = hooks.seen(1).disorder.clone();
    ensure!(
        disorder.is_empty(),
        "these came before what they follow: {disorder:?}"
    );
    for (lane, name) in NAMES.iter().enumerate() {
        let (seen, settled) = (hooks.seen(lane), &dead.settled[*name]);
        let not_delivered = settled.delivered.iter().find(|id| seen.times(**id) == 0);
        ensure!(
            not_delivered.is_none(),
            "{name}: {not_delivered:?} is settled and was never delivered"
        );
        let again = settled.delivered.iter().find(|id| seen.this_life.contains(id));
        ensure!(
            again.is_none(),
            "{name}: {again:?} was settled and is delivered again"
        );
        let owed = dead
            .events
            .iter()
            .filter(|id| !settled.has(id))
            .filter(|id| *name != "failing" || !is_refused(**id));
        let forgotten = owed.filter(|id| !seen.this_life.contains(id)).count();
        ensure!(
            forgotten == 0,
            "{name}: {forgotten} owed events were not delivered by the next life"
        );
    }

    let most_repeats = hooks.most_repeats();
    ensure!(
        most_repeats.iter().all(|most| *most <= MOST_REPEATS),
        "one kill repeated {most_repeats:?}, {MOST_REPEATS} are allowed"
    );

    hub.until("what is refused for good is given up", PATIENCE, |hub| {
        Ok(hub
            .json(&["get", "deliveries"])?
            .as_array()
            .is_some_and(Vec::is_empty))
    })
    .await?;

    // And after a clean stop everything acknowledged is settled, once, and nothing else is there
    let (status, log) = hub.stop(Duration::from_secs(30)).await?;
    ensure!(
        status.success() && log.contains("drained and stopped"),
        "{status}: {log}"
    );
    let end = Ledger::read(&binary, &hub.data(), &names)?;
    let total: u32 = acknowledged.iter().sum();
    ensure!(
        end.events.len() == total as usize,
        "{} events, {total} acknowledged",
        end.events.len()
    );
    let refused = end.events.iter().filter(|id| is_refused(**id)).count();
    for (lane, name) in NAMES.iter().enumerate() {
        let settled = &end.settled[*name];
        let given_up = if *name == "failing" { refused } else { 0 };
        let accounts = (settled.delivered.len(), settled.dead.len());
        ensure!(
            accounts == (total as usize - given_up, given_up),
            "{name}: {accounts:?} of {total}"
        );
        let seen = hooks.seen(lane);
        println!(
            "{name}: {} delivered, {} given up, {} repeated in all, at most {} by one kill",
            accounts.0, accounts.1, seen.repeats, most_repeats[lane]
        );
    }
    println!(
        "{cycles} kills in {:.0} s, {total} events acknowledged, {:.0} a second while the hub was up, 0 lost",
        took.as_secs_f64(),
        f64::from(total) / alive.as_secs_f64()
    );
    Ok(())
}
