//! `--since=24h`: prints what happened, one CloudEvent a line as the hub would get it, and ends.
//!
//! For trying a filter or a function on what was, without a hub. Reads with a collector of its own and keeps nothing.

use std::io::{ErrorKind, Write};

use chrono::{DateTime, Utc};

use crate::client::Client;
use crate::config::{Config, Start, Written, start};
use crate::content::Content;
use crate::cursor::Cursor;
use crate::event::Origin;
use crate::feed::History;
use crate::parts;
use crate::session::{Session, SessionError};
use crate::severity::Severities;
use crate::test::TestError;

/// Prints the events since `begin`, which is written like the setting `start`; how many there were.
pub async fn print_since(written: Written, begin: &str, out: &mut impl Write) -> Result<usize, TestError> {
    let wrong = |problem| dispatch_driver_sdk::SettingError::invalid("since", problem);
    let begin = start(begin).map_err(wrong)?;
    let config = Config::try_from(written)?;
    let client = Client::new(&config.address, &config.trust, crate::AGENT)?;
    let mut session = Session::new(client, &config.username, config.password.clone(), None);
    let printed = print(&mut session, &config, begin, out).await;
    session.close().await;
    printed.map_err(|error| TestError::of(error, &config))
}

async fn print(
    session: &mut Session,
    config: &Config,
    begin: Start,
    out: &mut impl Write,
) -> Result<usize, SessionError> {
    let mut content = session.connect().await?;
    content.parts = parts::at(session, &content, &config.within).await?;
    let origin = origin(session, config, &content).await?;
    let begin = time(begin, session.now());
    let mut history = History::open(session, &content, begin, &config.selection).await?;
    let mut printed = 0;
    // What two parts have in common comes with each, and not always on one page.
    let mut told = Cursor::default();
    loop {
        let page = history.next(session).await?;
        if page.records.is_empty() {
            break;
        }
        let wanted = page.records.iter();
        let wanted = wanted.filter(|r| told.is_new(&r.id) && config.selection.takes(r, &origin.severities));
        for record in wanted {
            let line = match record.to_event(&origin) {
                Ok(event) => event.to_json(),
                Err(error) => {
                    tracing::error!(id = record.id, "no event: {error}");
                    continue;
                }
            };
            match out.write_all(&line).and_then(|()| out.write_all(b"\n")) {
                Ok(()) => printed += 1,
                // Whoever reads has seen enough.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(printed),
                Err(error) => return Err(SessionError::Failed(format!("cannot print: {error}"))),
            }
        }
        told.advance(&page.records, session.now());
    }
    history.close(session).await?;
    Ok(printed)
}

async fn origin(session: &mut Session, config: &Config, content: &Content) -> Result<Origin, SessionError> {
    Ok(Origin {
        source: config.address.source(),
        vcenter: config.address.host().to_owned(),
        api_version: content.api_version.clone(),
        scheme: config.scheme,
        casing: config.casing,
        severities: Severities::read(session, content).await?,
    })
}

fn time(begin: Start, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    match begin {
        Start::Now => Some(now),
        Start::Beginning => None,
        Start::Ago(ago) => now.checked_sub_signed(chrono::Duration::from_std(ago).ok()?),
        Start::At(at) => Some(at),
    }
}
