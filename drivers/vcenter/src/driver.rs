//! The loop: connect, read to the end, wait for news, and begin again when something is lost.
//!
//! One thing at a time: a page is read only when the hub has the one before, so memory is bounded by two pages
//! and nothing is behind us that the hub does not have.

use std::convert::Infallible;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dispatch_contract::Event;
use dispatch_driver_sdk::{Context, EmitError, Failure, Health, Hub, Stop};
use tokio::time::{Instant, timeout};

use crate::backoff::Backoff;
use crate::client::Client;
use crate::config::Config;
use crate::content::Content;
use crate::cursor::Cursor;
use crate::event::Origin;
use crate::feed::{Feed, newest_key};
use crate::gap::gap;
use crate::outage::{self, Outage};
use crate::overlooked::Overlooked;
use crate::pace::Pace;
use crate::parts;
use crate::record::Record;
use crate::session::{Session, SessionError};
use crate::severity::Severities;
use crate::strand::Page;
use crate::surroundings::Surroundings;
use crate::tags::TagReader;

/// How long the server may keep us waiting for news. Reading after it keeps the session alive, and finds what a
/// wake-up that never came would have told.
const QUIET: Duration = Duration::from_secs(10);
/// The same while something is owed.
const IMPATIENT: Duration = Duration::from_secs(1);
/// After a refused login: an account is locked by less.
const AFTER_REFUSAL: Duration = Duration::from_secs(300);
/// At most this long until the next login when a session has ended: the password is right.
const AFTER_END: Duration = Duration::from_secs(2);
/// A session that lived this long was no failure.
const STABLE: Duration = Duration::from_secs(1);
/// How long a login under way is waited for when it is time to stop, so that its session can be given back.
const LOGIN_GRACE: Duration = Duration::from_secs(1);

/// One vCenter and its way to the hub.
pub(crate) struct Driver {
    config: Config,
    session: Session,
    origin: Origin,
    cursor: Cursor,
    is_first_start: bool,
    set_aside: Option<String>,
    /// Where the next feed begins when not where the cursor says.
    begin: Option<DateTime<Utc>>,
    /// What happened before this was read before, unless it is awaited.
    floor: Option<DateTime<Utc>>,
    overlooked: Overlooked,
    surroundings: Surroundings,
    pace: Pace,
    outage: Outage,
    hub: Hub,
    stop: Stop,
}

/// Why reading ended.
enum Lost {
    Session(SessionError),
    Hub(EmitError),
    /// The history has to be read from another place; nothing failed.
    Elsewhere,
    Stopped,
}

impl From<SessionError> for Lost {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}
impl From<EmitError> for Lost {
    fn from(error: EmitError) -> Self {
        Self::Hub(error)
    }
}

impl Driver {
    /// Puts the parts together; `cursor` is where it stopped, if it ever ran, `set_aside` a checkpoint to keep,
    /// `own_agent` the user agent of no sessions but this driver's.
    pub(crate) fn new(
        config: Config,
        client: Client,
        own_agent: Option<String>,
        cursor: Option<Cursor>,
        set_aside: Option<String>,
        context: Context,
    ) -> Self {
        let password = config.password.clone();
        let tags = TagReader::new(client.http(), &config.address, &config.username, password);
        Self {
            session: Session::new(client, &config.username, config.password.clone(), own_agent),
            origin: Origin {
                source: config.address.source(),
                vcenter: config.address.host().to_owned(),
                scheme: config.scheme,
                casing: config.casing,
                ..Origin::default()
            },
            is_first_start: cursor.is_none(),
            cursor: cursor.unwrap_or_default(),
            set_aside,
            begin: None,
            floor: None,
            overlooked: Overlooked::default(),
            surroundings: Surroundings::new(config.enrich, tags),
            pace: Pace::default(),
            outage: Outage::default(),
            hub: context.hub,
            stop: context.stop,
            config,
        }
    }

    /// Reads until told to stop, then gives the session back.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        let ended = self.live().await;
        self.surroundings.close().await;
        self.session.close().await;
        ended.map(|never| match never {})
    }

    /// Connects and reads, again and again.
    async fn live(&mut self) -> Result<Infallible, Failure> {
        let stop = self.stop.clone();
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let Err(lost) = match self.connect().await {
                Ok(content) => stop.unless(self.follow(&content)).await?,
                Err(lost) => Err(lost),
            };
            if began.elapsed() >= STABLE {
                backoff.reset();
            }
            let error = match lost {
                Lost::Stopped => return Err(Failure::Stopped),
                Lost::Hub(error) => return Err(error.into()),
                Lost::Elsewhere => continue,
                Lost::Session(error) => error,
            };
            let wait = match &error {
                SessionError::LoginRefused(_) => AFTER_REFUSAL,
                SessionError::Ended => backoff.next().min(AFTER_END),
                _ => backoff.next(),
            };
            match &error {
                SessionError::LoginRefused(_) => {
                    tracing::error!("{error}; not trying again for {} s", AFTER_REFUSAL.as_secs());
                    self.hub.report(Health::Failing(error.to_string())).await;
                }
                SessionError::Ended => tracing::info!("the session has ended, logging in again"),
                SessionError::CollectorGone(_) => tracing::info!("{error}; making it again"),
                SessionError::Unreadable { .. } => {
                    tracing::warn!("{error}; reading event by event");
                    self.pace.go_carefully();
                }
                SessionError::Failed(reason) => {
                    self.hub.report(Health::Failing(reason.clone())).await;
                    let told = self.outage.failed(&self.origin.source, reason);
                    self.tell(told).await?;
                }
            }
            stop.sleep(wait).await?;
        }
    }

    /// A session, and what has to be known of the server before its history can be read.
    async fn connect(&mut self) -> Result<Content, Lost> {
        let mut content = {
            let mut connecting = std::pin::pin!(self.session.connect());
            match self.stop.unless(connecting.as_mut()).await {
                Ok(content) => content?,
                Err(_) => {
                    // A session that is just being made must be known, to be given back.
                    timeout(LOGIN_GRACE, connecting).await.ok();
                    return Err(Lost::Stopped);
                }
            }
        };
        content.parts = parts::at(&mut self.session, &content, &self.config.within).await?;
        if self.origin.severities.is_empty() {
            self.origin.severities = Severities::read(&mut self.session, &content).await?;
        }
        self.origin.api_version.clone_from(&content.api_version);
        if !self.cursor.has_begun() {
            let now = self.session.now();
            self.cursor = Cursor::first(self.config.start, now, &self.origin.source, self.set_aside.take());
        }
        if let Some(before) = self.cursor.instance(&content.instance) {
            tracing::warn!("this is another server than before ({before}): going on at the same time");
        }
        self.leave_out().await?;
        Ok(content)
    }

    /// Goes over what lies further back than `replay` allows, and says so, once.
    async fn leave_out(&mut self) -> Result<(), Lost> {
        let now = self.session.now();
        let Some((from, to)) = self.config.replay.and_then(|most| self.cursor.skip(most, now)) else {
            return Ok(());
        };
        tracing::warn!("events between {from} and {to} are left out, as --replay says");
        let told = gap(&self.origin.source, from, to);
        let checkpoint = Some(self.cursor.checkpoint());
        self.hub
            .emit(told.into_iter().collect(), checkpoint, &self.stop)
            .await?;
        Ok(())
    }

    /// Reads until something is lost.
    async fn follow(&mut self, content: &Content) -> Result<Infallible, Lost> {
        self.floor = self.cursor.begin();
        let begin = self.begin.take().or(self.floor);
        let mut feed = Feed::open(&mut self.session, content, begin, &self.config.selection).await?;
        if self.is_first_start {
            self.cursor.found(newest_key(&mut self.session, content).await?);
            self.hub
                .emit(Vec::new(), Some(self.cursor.checkpoint()), &self.stop)
                .await?;
            self.is_first_start = false;
        }
        self.hub.report(Health::Ready).await;
        let told = self.outage.over(&self.origin.source, &content.full_name);
        self.tell(told).await?;
        loop {
            self.read_all(&mut feed, content).await?;
            if self.overlooked.caught_up(&mut self.cursor) {
                let selection = &self.config.selection;
                let session = &mut self.session;
                self.begin = self
                    .overlooked
                    .search(session, content, &feed.reached(), &self.cursor, begin, selection)
                    .await?;
                self.pace.go_widely();
                return Err(Lost::Elsewhere);
            }
            let wait = if self.overlooked.is_awaiting() {
                IMPATIENT
            } else {
                QUIET
            };
            let (selection, severities) = (&self.config.selection, &self.origin.severities);
            let wanted = |record: &Record| selection.takes(record, severities);
            let news = feed.wait(&mut self.session, wait, wanted).await?;
            self.overlooked.shown(news, &self.cursor);
        }
    }

    /// Reads to the end of the history, page by page.
    async fn read_all(&mut self, feed: &mut Feed, content: &Content) -> Result<(), Lost> {
        loop {
            let mut read = feed.read(&mut self.session, self.pace.page()).await;
            if self.pace.is_careful() && matches!(read, Err(SessionError::Unreadable { .. })) {
                read = feed.read_again(&mut self.session).await;
            }
            let page = match read {
                Err(SessionError::Unreadable { problem, text }) if self.pace.is_careful() => {
                    tracing::warn!("an event cannot be read and is passed on as it is: {problem}");
                    Page {
                        bytes: text.len(),
                        records: vec![Record::unreadable(&text)],
                    }
                }
                page => page?,
            };
            self.pace.note(page.records.len(), page.bytes);
            if page.records.is_empty() {
                return Ok(());
            }
            self.deliver(page.records, content).await?;
        }
    }

    /// Hands a page to the hub with the place it reaches; only then is it behind us.
    async fn deliver(&mut self, mut records: Vec<Record>, content: &Content) -> Result<(), Lost> {
        records.retain(|record| {
            let in_time = record.created.is_none_or(|created| Some(created) >= self.floor);
            let is_owed = self.overlooked.awaits(&record.id) || in_time && self.cursor.wants(record);
            is_owed && self.cursor.is_new(&record.id)
        });
        let (selection, severities) = (&self.config.selection, &self.origin.severities);
        let wanted: Vec<&Record> = records
            .iter()
            .filter(|r| selection.takes(r, severities))
            .collect();
        self.surroundings.learn(&mut self.session, content, &wanted).await;
        let events: Vec<Event> = wanted.iter().filter_map(|record| self.to_event(record)).collect();
        let now = self.session.now();
        if !events.is_empty() {
            let checkpoint = self.cursor.checkpoint_behind(&records, now);
            self.hub
                .emit_or_skip(events, Some(checkpoint), &self.stop)
                .await?;
        }
        self.cursor.advance(&records, now);
        Ok(())
    }

    fn to_event(&self, record: &Record) -> Option<Event> {
        let around = record
            .entity()
            .and_then(|entity| self.surroundings.around(&entity));
        let made = record.to_event_with(&self.origin, &around.unwrap_or_default());
        made.inspect_err(|e| tracing::error!(id = record.id, class = record.class, "no event: {e}"))
            .ok()
    }

    async fn tell(&self, event: Option<Event>) -> Result<(), EmitError> {
        let wanted = event.filter(|e| outage::is_wanted(e, &self.config.selection));
        if let Some(event) = wanted {
            self.hub.emit(vec![event], None, &self.stop).await?;
        }
        Ok(())
    }
}
