//! `--test`: connects, logs in, looks around and says what it found, without a hub and without reading on.

use std::fmt::Write as _;

use chrono::{DateTime, Duration, Utc};
use dispatch_contract::Event;
use dispatch_driver_sdk::SettingError;

use crate::client::Client;
use crate::config::{Config, Scheme, Written};
use crate::content::Content;
use crate::cursor::written;
use crate::earlier::sees_sessions;
use crate::event::Origin;
use crate::feed::newest;
use crate::parts;
use crate::record::Record;
use crate::session::{Session, SessionError};
use crate::severity::Severities;
use crate::tls::TrustError;

/// Events that are looked at for their rate.
const LOOKED_AT: u32 = 100;
/// Events that are shown.
const SHOWN: usize = 5;

/// Why a driver with these settings would do no work.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    /// The settings themselves are wrong.
    #[error(transparent)]
    Settings(#[from] SettingError),
    /// Whom to trust cannot be read.
    #[error("whom to trust")]
    Trust(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The server is there and lets this user not in.
    #[error("{server} is there and refuses {user}: {reason}")]
    Refused {
        /// Its address.
        server: String,
        /// Who was to log in.
        user: String,
        /// In the server's words.
        reason: String,
    },
    /// No server, no trust in it, or something else in its place.
    #[error("cannot use {server}: {reason}")]
    Unusable {
        /// Its address.
        server: String,
        /// What happened.
        reason: String,
    },
}

impl From<TrustError> for TestError {
    fn from(error: TrustError) -> Self {
        Self::Trust(Box::new(error))
    }
}

/// What is seen from inside.
struct Found {
    content: Content,
    ahead: Duration,
    severities: Severities,
    sees_sessions: bool,
    newest: Vec<Record>,
}

/// Tries the settings; what it found, for people.
pub async fn test(written: Written) -> Result<String, TestError> {
    let config = Config::try_from(written)?;
    let client = Client::new(&config.address, &config.trust, crate::AGENT)?;
    let mut session = Session::new(client, &config.username, config.password.clone(), None);
    let found = look(&mut session, &config).await;
    session.close().await;
    match found {
        Ok(found) => Ok(told(&config, &found)),
        Err(error) => Err(TestError::of(error, &config)),
    }
}

impl TestError {
    /// Why there was no session with that server.
    pub(crate) fn of(error: SessionError, config: &Config) -> Self {
        let server = config.address.source();
        match error {
            SessionError::LoginRefused(fault) => Self::Refused {
                server,
                user: config.username.clone(),
                reason: fault.to_string(),
            },
            error => Self::Unusable {
                server,
                reason: error.to_string(),
            },
        }
    }
}

async fn look(session: &mut Session, config: &Config) -> Result<Found, SessionError> {
    let mut content = session.connect().await?;
    content.parts = parts::at(session, &content, &config.within).await?;
    let ahead = session.now() - Utc::now();
    let severities = Severities::read(session, &content).await?;
    let sees_sessions = sees_sessions(session, &content).await?;
    let mut newest = newest(session, &content, &config.selection, LOOKED_AT).await?;
    newest.retain(|record| config.selection.takes(record, &severities));
    Ok(Found {
        content,
        ahead,
        severities,
        sees_sessions,
        newest,
    })
}

fn told(config: &Config, found: &Found) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        // Writing into a string cannot fail.
        writeln!(text, "{name:<9} {value}").unwrap_or_default();
    };
    line("server", found.content.full_name.clone());
    line("API", found.content.api_version.clone());
    line("instance", found.content.instance.clone());
    line("source", config.address.source());
    line("user", config.username.clone());
    line("clock", clock(found.ahead));
    let severities = match found.severities.len() {
        0 => "no: events go without a severity".to_owned(),
        n => format!("yes, of {n} kinds of events"),
    };
    line("severity", severities);
    let sessions = match found.sees_sessions {
        true => "seen: what a killed driver leaves behind can be ended",
        false => "not seen: what a killed driver leaves behind ends when it was idle long enough",
    };
    line("sessions", sessions.to_owned());
    line("events", rate(&found.newest));
    for record in found.newest.iter().rev().take(SHOWN) {
        for line in shown(config, record) {
            writeln!(text, "{line}").unwrap_or_default();
        }
    }
    text
}

fn clock(ahead: Duration) -> String {
    let seconds = ahead.num_milliseconds() as f64 / 1000.0;
    match seconds {
        s if s.abs() < 0.5 => "as here".to_owned(),
        s if s > 0.0 => format!("{s:.1} s ahead of this machine; the server's counts"),
        s => format!("{:.1} s behind this machine; the server's counts", -s),
    }
}

fn rate(newest: &[Record]) -> String {
    let times: Vec<DateTime<Utc>> = newest.iter().filter_map(|r| r.created).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return "none this user may see".to_owned();
    };
    let newest = written(*last);
    let minutes = (*last - *first).num_milliseconds() as f64 / 60_000.0;
    match minutes > 0.0 {
        true => format!("newest {newest}, {:.1} a minute", times.len() as f64 / minutes),
        false => format!("newest {newest}"),
    }
}

/// One event in each of the three ways.
fn shown(config: &Config, record: &Record) -> Vec<String> {
    let in_scheme = |scheme| {
        let origin = Origin {
            source: config.address.source(),
            scheme,
            ..Origin::default()
        };
        record.to_event(&origin)
    };
    let mut lines = vec![String::new()];
    for (name, scheme) in [
        ("dispatch", Scheme::Dispatch),
        ("veba", Scheme::Veba),
        ("router", Scheme::Router),
    ] {
        lines.push(match in_scheme(scheme) {
            Ok(event) => format!("{name:<9} {}", of(&event)),
            Err(error) => format!("{name:<9} no event: {error}"),
        });
    }
    lines
}

fn of(event: &Event) -> String {
    let subject = event.subject().unwrap_or("-");
    format!("{}  {subject}  id {}", event.ty(), event.id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_told_by_how_far_it_is_off() {
        assert_eq!(clock(Duration::milliseconds(-400)), "as here");
        assert_eq!(
            clock(Duration::seconds(7200)),
            "7200.0 s ahead of this machine; the server's counts"
        );
        assert_eq!(
            clock(Duration::milliseconds(-1500)),
            "1.5 s behind this machine; the server's counts"
        );
    }
}
