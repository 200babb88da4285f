//! Sessions that a killed process of this driver left behind; the server would keep them for half an hour or more.
//!
//! They are known by the user agent, which carries the driver's own mark. A user who may not see or end sessions
//! leaves them to the server.

use crate::content::{Content, properties};
use crate::session::{Session, SessionError};
use crate::soap::Call;
use crate::xml::Element;

/// The most sessions of an earlier life that are ended.
const MAX_EARLIER: usize = 50;

/// Whether this user is shown the sessions of the server.
pub(crate) async fn sees_sessions(session: &mut Session, content: &Content) -> Result<bool, SessionError> {
    let call = properties(content, &content.session_manager, "sessionList");
    let seen = session.ask(call).await?;
    Ok(seen.is_ok_and(|answer| list(&answer.element).is_some()))
}

/// Ends the sessions with this user agent, but for our own.
pub(crate) async fn end_earlier(
    session: &mut Session,
    content: &Content,
    agent: &str,
    own: &str,
) -> Result<(), SessionError> {
    let call = properties(content, &content.session_manager, "sessionList");
    let listed = match session.ask(call).await? {
        Ok(answer) => sessions_of(&answer.element, agent, own),
        Err(fault) => {
            tracing::info!("sessions of an earlier life, if any, end by themselves: {fault}");
            Vec::new()
        }
    };
    for key in listed {
        let end = Call::new("TerminateSession", &content.session_manager).text("sessionId", &key);
        match session.ask(end).await? {
            Ok(_) => tracing::info!("ended a session that an earlier life had left"),
            Err(fault) => tracing::info!("a session of an earlier life ends by itself: {fault}"),
        }
    }
    Ok(())
}

fn list(answer: &Element) -> Option<&Element> {
    answer.at(&["returnval", "objects", "propSet", "val"])
}

fn sessions_of(answer: &Element, agent: &str, own: &str) -> Vec<String> {
    let sessions = list(answer).into_iter().flat_map(|v| &v.children);
    sessions
        .filter(|s| s.text_of("userAgent") == Some(agent))
        .filter_map(|s| s.text_of("key"))
        .filter(|key| *key != own)
        .take(MAX_EARLIER)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sessions_of_exactly_this_driver_are_of_an_earlier_life() {
        let session =
            |key: &str, agent: &str| format!("<S><key>{key}</key><userAgent>{agent}</userAgent></S>");
        let text = format!(
            "<r><returnval><objects><propSet><val>{}{}{}</val></propSet></objects></returnval></r>",
            session("old", "driver (1)"),
            session("own", "driver (1)"),
            session("other", "driver (2)")
        );
        let answer = crate::xml::parse(&text).unwrap();
        assert_eq!(sessions_of(&answer, "driver (1)", "own"), ["old"]);
    }
}
