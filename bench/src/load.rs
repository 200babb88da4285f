//! The producers: each has one connection that it keeps, and one request under way at a time.
//!
//! In a closed loop the next event follows the acknowledgement. In an open loop each event has a time at
//! which it is due; a producer that is late sends at once, and the wait counts as latency. A connection that
//! breaks is an error, counted, and made anew. All producers share one thread: what they cost is not the
//! hub's, and a second thread would only wake up for the first.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::Uri;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::alarm::Alarm;
use crate::event::{Clock, Recipe, Request, Stamp};
use crate::sample::Samples;
use crate::wire::Connection;

const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// What to post, where and how long.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Where to.
    pub(crate) url: Uri,
    /// What.
    pub(crate) recipe: Recipe,
    /// Connections.
    pub(crate) producers: usize,
    /// Requests a second of all producers together; as fast as acknowledged if `None`.
    pub(crate) rate: Option<f64>,
    /// How long.
    pub(crate) duration: Duration,
    /// How many events each producer posts at most.
    pub(crate) most: Option<usize>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Posted {
    /// Events that were acknowledged.
    pub(crate) acknowledged: usize,
    /// Answers that were no acknowledgement, by status.
    pub(crate) refused: BTreeMap<u16, usize>,
    /// Requests without an answer.
    pub(crate) errors: usize,
    /// From due to acknowledged.
    pub(crate) latency: Samples,
    /// From the first to the last.
    pub(crate) took: Duration,
}

impl Posted {
    /// Adds its figures to a row.
    pub(crate) fn tell(self, row: &mut Value) {
        row["seconds"] = self.took.as_secs_f64().into();
        row["acknowledged"] = self.acknowledged.into();
        row["acks_per_second"] = per_second(self.acknowledged, self.took).into();
        row["ack_micros"] = json!(self.latency.latency());
        row["refused"] = self.refused.values().sum::<usize>().into();
        row["errors"] = self.errors.into();
    }
}

/// So many in that time.
pub(crate) fn per_second(count: usize, took: Duration) -> f64 {
    (count as f64 / took.as_secs_f64()).round()
}

/// Posts until the time is over and every answer is there.
pub(crate) async fn run(load: &Load, run: u32, clock: Clock) -> anyhow::Result<Posted> {
    let begin = clock.now();
    let mut producers = JoinSet::new();
    for number in 0..load.producers {
        producers.spawn(Producer::new(load.clone(), run, number, clock)?.work(begin));
    }
    let mut total = Posted::default();
    while let Some(done) = producers.join_next().await {
        let posted = done.context("a producer failed")??;
        total.acknowledged += posted.acknowledged;
        total.errors += posted.errors;
        total.latency.append(posted.latency);
        for (status, count) in posted.refused {
            *total.refused.entry(status).or_default() += count;
        }
    }
    total.took = clock.now() - begin;
    Ok(total)
}

/// `host:port` of an `http://` address.
pub(crate) fn address(url: &Uri) -> anyhow::Result<String> {
    let Some(authority) = url.authority().filter(|_| url.scheme_str() == Some("http")) else {
        bail!("{url} is not an http:// address");
    };
    Ok(format!(
        "{}:{}",
        authority.host(),
        authority.port_u16().unwrap_or(80)
    ))
}

struct Producer {
    load: Load,
    run: u32,
    number: usize,
    clock: Clock,
    address: String,
    /// One for each type of events.
    requests: Vec<Request>,
    connection: Option<Connection>,
}

impl Producer {
    fn new(load: Load, run: u32, number: usize, clock: Clock) -> anyhow::Result<Self> {
        let address = address(&load.url)?;
        let path = load.url.path_and_query().map_or("/", |path| path.as_str());
        let requests = (0..load.recipe.types)
            .map(|turn| load.recipe.request(&address, path, turn))
            .collect();
        Ok(Self {
            load,
            run,
            number,
            clock,
            address,
            requests,
            connection: None,
        })
    }

    async fn work(mut self, begin: Duration) -> anyhow::Result<Posted> {
        let mut posted = Posted::default();
        let alarm = Alarm::new().context("no timer")?;
        let end = begin + self.load.duration;
        let batch = self.load.recipe.batch;
        for round in 0.. {
            // Producers take turns, so the whole is even.
            let turn = round * self.load.producers + self.number;
            let due = match self.load.rate {
                None => self.clock.now(),
                Some(rate) => begin + Duration::from_secs_f64(turn as f64 / rate),
            };
            let enough = self.load.most.is_some_and(|most| round * batch >= most);
            if enough || due >= end || self.clock.now() >= end + ANSWER_TIMEOUT {
                break;
            }
            if self.load.rate.is_some() {
                alarm.at(self.clock.instant(due)).await?;
            }
            let stamp = Stamp {
                run: self.run,
                producer: self.number,
                number: round * batch,
                at: due,
            };
            match tokio::time::timeout(ANSWER_TIMEOUT, self.post(turn, &stamp)).await {
                Ok(Ok(200..=299)) => {
                    posted.acknowledged += batch;
                    posted.latency.add(self.clock.now().saturating_sub(due));
                }
                Ok(Ok(status)) => {
                    *posted.refused.entry(status).or_default() += 1;
                }
                Ok(Err(_)) | Err(_) => {
                    posted.errors += 1;
                    tokio::time::sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
        Ok(posted)
    }

    async fn post(&mut self, turn: usize, stamp: &Stamp) -> std::io::Result<u16> {
        let types = self.requests.len();
        let request = self.requests[turn % types].stamped(stamp)?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(&self.address).await?,
        };
        let status = connection.exchange(request).await?;
        self.connection = Some(connection);
        Ok(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Mode;
    use crate::receive::{Expected, Target};
    use axum::Router;
    use axum::http::StatusCode as Status;
    use tokio::net::TcpListener;

    fn load(port: u16, rate: Option<f64>, millis: u64) -> Load {
        Load {
            url: format!("http://127.0.0.1:{port}/0").parse().unwrap(),
            recipe: Recipe {
                mode: Mode::Binary,
                ty: "t".to_owned(),
                types: 1,
                size: 64,
                batch: 1,
                content_type: None,
            },
            producers: 2,
            rate,
            duration: Duration::from_millis(millis),
            most: None,
        }
    }

    /// A server that answers each request so late, with this.
    async fn slow(delay: Duration, status: Status) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new().fallback(async move || {
            tokio::time::sleep(delay).await;
            status
        });
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        port
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_acknowledged_was_received_once() {
        let clock = Clock::start();
        let target = Target::listen(
            "127.0.0.1:0",
            Expected {
                paths: 1,
                producers: 2,
                takes: Duration::ZERO,
            },
            clock,
        )
        .unwrap();
        target.begin(7);

        let posted = run(&load(target.port, None, 100), 7, clock).await.unwrap();

        let received = target.begin(0);
        assert!(posted.acknowledged > 2, "{posted:?}");
        assert_eq!((received.distinct, received.repeated), (posted.acknowledged, 0));
        assert_eq!(posted.errors, 0);
    }

    #[tokio::test]
    async fn an_open_loop_posts_what_is_due_and_waiting_for_a_slow_hub_counts() {
        let port = slow(Duration::from_millis(50), Status::ACCEPTED).await;

        // 40 events a second can be answered, 200 are due.
        let posted = run(&load(port, Some(200.0), 200), 7, Clock::start())
            .await
            .unwrap();

        assert_eq!(posted.acknowledged, 40);
        assert!(posted.took > Duration::from_millis(900), "{posted:?}");
        let latency = serde_json::to_value(posted.latency.latency()).unwrap();
        assert!(latency["p50"].as_u64().unwrap() > 250_000, "{latency}");
    }

    #[tokio::test]
    async fn refusals_and_errors_are_no_acknowledgements() {
        let busy = slow(Duration::from_millis(1), Status::SERVICE_UNAVAILABLE).await;
        let nobody = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();

        let refused = run(&load(busy, None, 50), 7, Clock::start()).await.unwrap();
        let failed = run(&load(nobody, None, 50), 7, Clock::start()).await.unwrap();

        assert_eq!((refused.acknowledged, refused.errors), (0, 0));
        assert!(refused.refused[&503] > 0);
        assert_eq!(failed.acknowledged, 0);
        assert!(failed.errors > 0 && failed.errors < 100, "{failed:?}");
    }
}
