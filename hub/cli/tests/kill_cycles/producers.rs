//! Four producers that never give up: each has a connection for each of its keys and posts one event after another
//! over it, at its rate, until the hub has acknowledged it, whatever happens to the hub meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, bail};
use dispatch_fixtures::wire::{Connection, event};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How many keys there are: eight for each of the producers.
pub(crate) const KEYS: u32 = 4 * 8;
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between tries to reach a hub that is gone.
const PAUSE: Duration = Duration::from_millis(2);

/// What they share.
#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    /// Acknowledged events of each key: those from 0 to this.
    acknowledged: [AtomicU32; KEYS as usize],
}

/// Producers at work.
pub(crate) struct Producers {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<Result<()>>>,
}

impl Producers {
    /// Begins to post, `rate` events a second all together.
    pub(crate) fn start(port: u16, rate: u32) -> Self {
        let shared = Arc::new(Shared::default());
        let every = Duration::from_secs(1) * KEYS / rate;
        let tasks = (0..KEYS)
            .map(|key| tokio::spawn(produce(port, key, every, shared.clone())))
            .collect();
        Self { shared, tasks }
    }

    /// How many of each key were acknowledged.
    pub(crate) fn acknowledged(&self) -> Vec<u32> {
        let count = |n: &AtomicU32| n.load(Ordering::SeqCst);
        self.shared.acknowledged.iter().map(count).collect()
    }

    /// Ends them, each after its last acknowledgement, and says how many there were.
    pub(crate) async fn finish(mut self) -> Result<Vec<u32>> {
        self.shared.stop.store(true, Ordering::SeqCst);
        for task in std::mem::take(&mut self.tasks) {
            timeout(PATIENCE * 3, task).await???;
        }
        Ok(self.acknowledged())
    }
}

async fn produce(port: u16, key: u32, every: Duration, shared: Arc<Shared>) -> Result<()> {
    let mut connection = None;
    let mut due = Instant::now();
    for number in 0.. {
        if shared.stop.load(Ordering::SeqCst) {
            break;
        }
        sleep_until(due).await;
        due += every;
        let request = request(key, number);
        while !post(&mut connection, port, &request).await? {
            connection = None;
            sleep(PAUSE).await;
            // The rate is for a hub that is there; what is behind is not made up for.
            due = Instant::now();
        }
        shared.acknowledged[key as usize].store(number + 1, Ordering::SeqCst);
    }
    Ok(())
}

fn request(key: u32, number: u32) -> Vec<u8> {
    event(
        &format!("{key}-{number}"),
        "test.happened",
        &format!("ce-partitionkey: {key}\r\n"),
    )
}

/// Whether it was acknowledged; not when the hub is away, or goes away. Anything but 202 and 503 is an error.
async fn post(connection: &mut Option<Connection>, port: u16, request: &[u8]) -> Result<bool> {
    if connection.is_none() {
        *connection = Connection::open(port).await.ok();
    }
    let Some(open) = connection else {
        return Ok(false);
    };
    match timeout(PATIENCE, open.ask(request)).await? {
        Some(202) => Ok(true),
        Some(503) | None => Ok(false),
        Some(status) => bail!("{status}"),
    }
}
