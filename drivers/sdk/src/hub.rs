//! The hub as a driver sees it: a place that takes events, and remembers how far the driver has read.
//!
//! Back-pressure is simple: [`Hub::emit`] returns when the hub has the batch on disk, however long that
//! takes. A hub that is away, busy or full is asked again, 0.2 s to 30 s apart with jitter, never sooner than its
//! `Retry-After`. The hub tells repeated events apart by their ids, so repeating is safe.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dispatch_contract::{BATCH_CONTENT_TYPE, Event, ExposeSecret, STRUCTURED_CONTENT_TYPE, SecretString};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, RequestBuilder, Url};
use tokio::sync::Mutex;

use crate::answer::{Verdict, message, verdict};
use crate::attempt::{line, once, wait};
use crate::batch::{batches, halve};
use crate::overrides::Overrides;
use crate::settings::Settings;
use crate::stop::{Stop, Stopped};

pub use crate::emitted::{Emitted, Refusal};

/// Header of a POST that carries a checkpoint, as base64.
pub(crate) const CHECKPOINT_HEADER: &str = "dispatch-checkpoint";
/// The most bytes a checkpoint may have.
const MAX_CHECKPOINT: usize = 64 * 1024;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where events go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    sink: Url,
    token: Option<SecretString>,
    overrides: Overrides,
    /// A plain CloudEvents receiver keeps no checkpoints and no health.
    keeps_checkpoints: bool,
    reported: Mutex<Option<Health>>,
    /// Where this driver listens, once it does.
    listen: OnceLock<SocketAddr>,
}

/// Why a batch did not go through. Its checkpoint is not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// It was time to stop while the hub did not answer. The batch may have been taken.
    #[error("stopped before the hub took the events")]
    Stopped,
    /// The hub does not know this driver or its token. Trying again is useless; being started anew may help.
    #[error("the hub denies this driver: {0}")]
    Denied(String),
    /// An event is wrong, or the checkpoint is.
    #[error("the hub refuses the events: {0}")]
    Refused(String),
}

/// Why there is no answer about the checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// It was time to stop.
    #[error("stopped before the hub gave the checkpoint")]
    Stopped,
    /// The hub does not know this driver or its token.
    #[error("the hub denies this driver its checkpoint: {0}")]
    Denied(String),
}

/// Why there is no hub to speak to: the settings are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HubError {
    /// Nothing says where the hub is.
    #[error(
        "no hub to send events to: set K_SINK to its URL (and DISPATCH_TOKEN), or give --dispatch-api-endpoint HOST:PORT"
    )]
    Nowhere,
    /// What says it cannot be used.
    #[error("{variable}: {problem}")]
    Unusable {
        /// Where it came from.
        variable: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// How the driver itself is, for whoever lists the drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It reads what it should read.
    Ready,
    /// It runs, but cannot do its work for now; one line, no secret.
    Failing(String),
}

impl From<Stopped> for EmitError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}
impl From<Stopped> for CheckpointError {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl Hub {
    /// The hub that `K_SINK` and `DISPATCH_TOKEN` name; else `--dispatch-api-endpoint` and `AUTH_TOKEN`. Every event
    /// gets the extensions in `K_CE_OVERRIDES`.
    pub fn from_env(settings: &Settings) -> Result<Self, HubError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let overrides = variable("K_CE_OVERRIDES").map_or(Ok(Overrides::default()), |text| {
            Overrides::parse(&text).map_err(|problem| HubError::Unusable {
                variable: "K_CE_OVERRIDES",
                problem,
            })
        })?;
        if let Some(sink) = variable("K_SINK") {
            return Self::connect("K_SINK", &sink, variable("DISPATCH_TOKEN"), true, overrides);
        }
        let endpoint = settings.endpoint().ok_or(HubError::Nowhere)?;
        let sink = format!("http://{endpoint}/v1/events");
        let token = variable("AUTH_TOKEN");
        Self::connect("--dispatch-api-endpoint", &sink, token, false, overrides)
    }

    /// A hub's door for one driver: what `K_SINK` would say.
    pub fn new(sink: &str, token: Option<SecretString>) -> Result<Self, HubError> {
        Self::connect(
            "the sink",
            sink,
            token.map(|t| t.expose_secret().to_owned()),
            true,
            Overrides::default(),
        )
    }

    fn connect(
        variable: &'static str,
        sink: &str,
        token: Option<String>,
        keeps_checkpoints: bool,
        overrides: Overrides,
    ) -> Result<Self, HubError> {
        let unusable = |problem: String| HubError::Unusable { variable, problem };
        let sink = Url::parse(sink).map_err(|e| unusable(format!("is not a URL: {e}")))?;
        if !matches!(sink.scheme(), "http" | "https") {
            return Err(unusable("must begin with http:// or https://".to_owned()));
        }
        crate::run::install_tls_provider();
        let client = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            .pool_max_idle_per_host(2)
            .user_agent(concat!("dispatch-driver/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| unusable(format!("cannot be connected to: {e}")))?;
        Ok(Self(Arc::new(Inner {
            client,
            sink,
            token: token.map(SecretString::from),
            overrides,
            keeps_checkpoints,
            reported: Mutex::new(None),
            listen: OnceLock::new(),
        })))
    }

    /// How far this driver has read, in its own words; `None` when it never said. Asks until the hub answers.
    pub async fn checkpoint(&self, stop: &Stop) -> Result<Option<Bytes>, CheckpointError> {
        if !self.0.keeps_checkpoints {
            tracing::warn!("this hub keeps no checkpoints: the driver begins anew with each start");
            return Ok(None);
        }
        let request = self.authorized(self.0.client.get(self.beside("checkpoint")));
        let (status, body) = self.ask(&request, "the checkpoint", stop).await?;
        match status {
            StatusCode::OK => Ok(Some(body)),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(CheckpointError::Denied(message(status, &body)))
            }
            StatusCode::NO_CONTENT => Ok(None),
            other => {
                tracing::warn!(status = other.as_u16(), "the sink keeps no checkpoints");
                Ok(None)
            }
        }
    }

    /// Sends the events, in order, until the hub has them on disk; `checkpoint` becomes durable with the last of
    /// them. No events and a checkpoint stores the checkpoint alone.
    ///
    /// Large vectors go in several batches; a batch is all or nothing, and the checkpoint only goes with the
    /// last one. When the hub refuses an event this returns the error and the rest is not sent.
    pub async fn emit(
        &self,
        events: Vec<Event>,
        checkpoint: Option<Bytes>,
        stop: &Stop,
    ) -> Result<Emitted, EmitError> {
        self.send(events, checkpoint, stop, OnRefusal::Fail).await
    }

    /// The same, but an event that the hub refuses blocks nobody: it is found by halving its batch, logged
    /// once with its position, and left out.
    pub async fn emit_or_skip(
        &self,
        events: Vec<Event>,
        checkpoint: Option<Bytes>,
        stop: &Stop,
    ) -> Result<Emitted, EmitError> {
        self.send(events, checkpoint, stop, OnRefusal::Skip).await
    }

    /// Tells the hub how this driver is. Tried once, and only when it changed; a hub that does not listen is no
    /// error.
    pub async fn report(&self, health: Health) {
        let mut reported = self.0.reported.lock().await;
        if reported.as_ref() != Some(&health) && self.tell(&health).await {
            *reported = Some(health);
        }
    }

    /// From now on what is reported says where this driver listens.
    pub(crate) fn listens(&self, at: SocketAddr) {
        self.0.listen.get_or_init(|| at);
    }

    /// Says again what was reported last, or that all is well: a hub that began anew does not know it.
    pub(crate) async fn report_again(&self) -> bool {
        let mut reported = self.0.reported.lock().await;
        let health = reported.clone().unwrap_or(Health::Ready);
        let heard = self.tell(&health).await;
        if heard {
            *reported = Some(health);
        }
        heard
    }

    /// Whether the hub heard it; a plain receiver of CloudEvents is not told.
    async fn tell(&self, health: &Health) -> bool {
        if !self.0.keeps_checkpoints {
            return true;
        }
        let mut body = match health {
            Health::Ready => serde_json::json!({"status": "READY"}),
            Health::Failing(reason) => serde_json::json!({"status": "ERROR", "reason": reason}),
        };
        if let Some(at) = self.0.listen.get() {
            body["listen"] = at.to_string().into();
        }
        let request = self
            .authorized(self.0.client.put(self.beside("health")))
            .timeout(REPORT_TIMEOUT)
            .json(&body);
        match request.send().await {
            Ok(answer) if answer.status().is_success() => true,
            Ok(answer) => {
                tracing::debug!(
                    status = answer.status().as_u16(),
                    "the hub did not take how this driver is"
                );
                false
            }
            Err(error) => {
                tracing::debug!(error = %line(&error), "the hub did not hear how this driver is");
                false
            }
        }
    }

    async fn send(
        &self,
        events: Vec<Event>,
        checkpoint: Option<Bytes>,
        stop: &Stop,
        on_refusal: OnRefusal,
    ) -> Result<Emitted, EmitError> {
        if let Some(size) = checkpoint
            .as_ref()
            .map(Bytes::len)
            .filter(|size| *size > MAX_CHECKPOINT)
        {
            let problem = format!("the checkpoint has {size} bytes; at most {MAX_CHECKPOINT} are kept");
            return Err(EmitError::Refused(problem));
        }
        let events = self.0.overrides.apply(events);
        let mut emitted = Emitted::default();
        let mut waiting = batches(&events);
        let mut checkpoint = checkpoint.filter(|_| self.0.keeps_checkpoints);
        while let Some((position, batch)) = waiting.pop() {
            let carried = checkpoint.clone().filter(|_| waiting.is_empty());
            let (status, headers, body) = self.post(batch, carried.as_ref(), stop).await?;
            let refused = || message(status, &body);
            match verdict(status, &headers) {
                Verdict::Taken => {
                    checkpoint = checkpoint.filter(|_| carried.is_none());
                    emitted.count(&body, batch.len());
                }
                Verdict::Denied => return Err(EmitError::Denied(refused())),
                Verdict::Smaller if batch.len() > 1 => halve(&mut waiting, position, batch),
                Verdict::Refused if batch.len() > 1 && on_refusal == OnRefusal::Skip => {
                    halve(&mut waiting, position, batch);
                }
                _ if batch.len() == 1 && on_refusal == OnRefusal::Skip => {
                    let refusal = Refusal {
                        position,
                        id: batch[0].id().to_owned(),
                        message: refused(),
                    };
                    tracing::warn!(
                        event = refusal.id,
                        position,
                        "event left out: {}",
                        refusal.message
                    );
                    emitted.refused.push(refusal);
                }
                _ => return Err(EmitError::Refused(refused())),
            }
        }
        if let Some(checkpoint) = checkpoint {
            let (status, headers, body) = self.post(&[], Some(&checkpoint), stop).await?;
            match verdict(status, &headers) {
                Verdict::Taken => {}
                Verdict::Denied => return Err(EmitError::Denied(message(status, &body))),
                _ => return Err(EmitError::Refused(message(status, &body))),
            }
        }
        Ok(emitted)
    }

    /// One POST, repeated until it has an answer that means something. A single event goes in structured mode,
    /// which every receiver of CloudEvents understands.
    async fn post(
        &self,
        batch: &[Event],
        checkpoint: Option<&Bytes>,
        stop: &Stop,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Stopped> {
        let (content_type, body) = match batch {
            [one] => (STRUCTURED_CONTENT_TYPE, one.to_json()),
            many => (BATCH_CONTENT_TYPE, Event::batch_to_json(many)),
        };
        let request = self
            .0
            .client
            .post(self.0.sink.clone())
            .header("content-type", content_type);
        let mut request = self.authorized(request).body(Bytes::from(body));
        if let Some(checkpoint) = checkpoint {
            request = request.header(CHECKPOINT_HEADER, STANDARD.encode(checkpoint));
        }
        self.repeat(&request, "events", stop).await
    }

    async fn ask(
        &self,
        request: &RequestBuilder,
        what: &str,
        stop: &Stop,
    ) -> Result<(StatusCode, Bytes), Stopped> {
        let (status, _, body) = self.repeat(request, what, stop).await?;
        Ok((status, body))
    }

    /// Sends until the answer is none of "later".
    async fn repeat(
        &self,
        request: &RequestBuilder,
        what: &str,
        stop: &Stop,
    ) -> Result<(StatusCode, HeaderMap, Bytes), Stopped> {
        let mut failed: u32 = 0;
        loop {
            let (problem, after) = match stop.unless(once(request)).await? {
                Ok((status, headers, body)) => match verdict(status, &headers) {
                    Verdict::Retry { after } => (message(status, &body), after),
                    _ => {
                        if failed > 0 {
                            tracing::info!(attempts = failed + 1, "the hub answers about {what} again");
                        }
                        return Ok((status, headers, body));
                    }
                },
                Err(problem) => (problem, None),
            };
            failed = failed.saturating_add(1);
            match failed {
                1 => tracing::warn!("the hub does not answer about {what}, asking until it does: {problem}"),
                _ => tracing::debug!(failed, "still no answer about {what}: {problem}"),
            }
            stop.sleep(wait(failed, after)).await?;
        }
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.0.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        }
    }

    fn beside(&self, name: &str) -> Url {
        let mut url = self.0.sink.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(name);
        }
        url
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OnRefusal {
    Fail,
    Skip,
}
