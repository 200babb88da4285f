//! A session with the server: logged in once, kept as long as it lives, given back at the end.
//!
//! Sessions are few and an account can be locked, so this never logs in when a session of ours is still
//! alive, and a refused login is told apart from everything else. Names of objects come from the server's
//! content, never from habit: an ESXi host has others than vCenter.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use dispatch_driver_sdk::{ExposeSecret as _, SecretString};
use tokio::time::Instant;

use crate::client::{Answer, CallError, Client};
use crate::soap::{Call, Fault, Reference};
use crate::xml::Element;

/// How long an ordinary call may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How long each call of a farewell may take.
const FAREWELL: Duration = Duration::from_millis(700);
/// Messages in one language, whatever the server's own is.
const LOCALE: &str = "en_US";
/// How long all of it may take.
const WHOLE_FAREWELL: Duration = Duration::from_secs(3);
/// The most calls that give something back that are remembered.
const MAX_LEFTOVERS: usize = 8;
/// The most sessions of an earlier life that are ended.
const MAX_EARLIER: usize = 50;

/// Why a session cannot go on, by what is to be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// Name or password are refused: trying again soon locks the account.
    #[error("login refused: {0}")]
    LoginRefused(Fault),
    /// The session is gone: log in again.
    #[error("the session has ended")]
    Ended,
    /// An object of ours is gone, the session is not: make it again.
    #[error("a collector is gone: {0}")]
    CollectorGone(Fault),
    /// An answer could not be read: ask for less.
    #[error("{problem}")]
    Unreadable {
        /// What is wrong with it.
        problem: String,
        /// As much as was read.
        text: String,
    },
    /// Anything else: try again later.
    #[error("{0}")]
    Failed(String),
}

impl From<CallError> for SessionError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Fault(fault) if fault.is_not_authenticated() => Self::Ended,
            CallError::Fault(fault) if fault.is_gone() => Self::CollectorGone(fault),
            CallError::Fault(fault) => Self::Failed(fault.to_string()),
            CallError::Unreadable { problem, text } => Self::Unreadable { problem, text },
            CallError::Unreachable(problem) => Self::Failed(problem),
        }
    }
}

/// What the server says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) full_name: String,
    pub(crate) api_version: String,
    /// Identity of the installation; clones share it.
    pub(crate) instance: String,
    pub(crate) root_folder: Reference,
    pub(crate) event_manager: Reference,
    session_manager: Reference,
    pub(crate) property_collector: Reference,
    search_index: Option<Reference>,
}

/// A connection and, most of the time, a session.
pub(crate) struct Session {
    client: Client,
    username: String,
    password: SecretString,
    logged_in: bool,
    content: Option<Content>,
    /// The server's clock, and when it was read.
    clock: Option<(DateTime<Utc>, Instant)>,
    /// Calls that give back what was made on the server.
    leftovers: Vec<Call>,
    /// User agent of this driver's sessions, as long as those of an earlier life may still be there.
    earlier: Option<String>,
}

impl Session {
    pub(crate) fn new(
        client: Client,
        username: &str,
        password: SecretString,
        earlier: Option<String>,
    ) -> Self {
        Self {
            earlier,
            client,
            username: username.to_owned(),
            password,
            logged_in: false,
            content: None,
            clock: None,
            leftovers: Vec::new(),
        }
    }

    /// Makes sure there is a session: the one we had, if it still lives, else a new one. One login at most.
    pub(crate) async fn connect(&mut self) -> Result<Content, SessionError> {
        if !self.logged_in {
            self.client.forget_session();
        }
        let root = Reference::new("ServiceInstance", "ServiceInstance");
        let answer = self.call(Call::new("RetrieveServiceContent", &root)).await?;
        let content = content(&answer.element)
            .ok_or_else(|| SessionError::Failed("the server does not say what it has".to_owned()))?;
        self.client.speak(&content.api_version);
        self.content = Some(content.clone());
        let clock = Call::new("CurrentTime", &root);
        if self.logged_in {
            match self.read_clock(clock.clone()).await {
                Err(SessionError::Ended) => {}
                read => {
                    read?;
                    self.give_back().await;
                    return Ok(content);
                }
            }
        }
        self.log_in(&content).await?;
        self.read_clock(clock).await?;
        Ok(content)
    }

    async fn log_in(&mut self, content: &Content) -> Result<(), SessionError> {
        self.client.forget_session();
        self.leftovers.clear();
        let login = Call::new("Login", &content.session_manager)
            .text("userName", &self.username)
            .text("password", self.password.expose_secret())
            .text("locale", LOCALE);
        match self.client.call(&login, DEADLINE).await {
            Ok(answer) => {
                self.logged_in = true;
                let own = answer.element.at(&["returnval", "key"]).map(|k| k.text.clone());
                self.end_earlier(content, &own.unwrap_or_default()).await
            }
            Err(CallError::Fault(fault)) if fault.is_refused_login() => {
                Err(SessionError::LoginRefused(fault))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Ends what a killed process of this driver left behind; the server would keep it for half an hour or more. A user
    /// who may not see sessions leaves them to the server.
    async fn end_earlier(&mut self, content: &Content, own: &str) -> Result<(), SessionError> {
        let Some(agent) = self.earlier.clone() else {
            return Ok(());
        };
        let call = properties(content, &content.session_manager, "sessionList");
        let listed = match self.client.call(&call, DEADLINE).await {
            Ok(answer) => sessions_of(&answer.element, &agent, own),
            Err(CallError::Fault(fault)) if !fault.is_not_authenticated() => {
                tracing::info!("sessions of an earlier life, if any, end by themselves: {fault}");
                Vec::new()
            }
            Err(error) => return Err(error.into()),
        };
        for key in listed {
            let end = Call::new("TerminateSession", &content.session_manager).text("sessionId", &key);
            match self.client.call(&end, DEADLINE).await {
                Ok(_) => tracing::info!("ended a session that an earlier life had left"),
                Err(CallError::Fault(fault)) if !fault.is_not_authenticated() => {
                    tracing::info!("a session of an earlier life ends by itself: {fault}");
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.earlier = None;
        Ok(())
    }

    /// The object at a path of the inventory.
    pub(crate) async fn find(&mut self, content: &Content, path: &str) -> Result<Reference, SessionError> {
        let missing = || {
            SessionError::Failed(format!(
                "--within: this user sees nothing at /{path} in the inventory"
            ))
        };
        let index = content.search_index.as_ref().ok_or_else(missing)?;
        let call = Call::new("FindByInventoryPath", index).text("inventoryPath", path);
        let answer = self.call(call).await?;
        answer
            .element
            .child("returnval")
            .and_then(Reference::of)
            .ok_or_else(missing)
    }

    /// Whether this user is shown the sessions of the server.
    pub(crate) async fn sees_sessions(&mut self, content: &Content) -> Result<bool, SessionError> {
        let call = properties(content, &content.session_manager, "sessionList");
        match self.client.call(&call, DEADLINE).await {
            Ok(answer) => Ok(answer
                .element
                .at(&["returnval", "objects", "propSet", "val"])
                .is_some()),
            Err(CallError::Fault(fault)) if !fault.is_not_authenticated() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn read_clock(&mut self, call: Call) -> Result<(), SessionError> {
        let answer = self.call(call).await?;
        let text = answer.element.text_of("returnval").unwrap_or_default();
        let now = DateTime::parse_from_rfc3339(text)
            .map_err(|_| SessionError::Failed("the server does not tell the time".to_owned()))?;
        self.clock = Some((now.to_utc(), Instant::now()));
        Ok(())
    }

    /// The server's clock. Not ours: it may be hours off.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        match self.clock {
            Some((then, read)) => then + read.elapsed(),
            None => DateTime::<Utc>::MAX_UTC,
        }
    }

    /// Calls within the ordinary deadline.
    pub(crate) async fn call(&mut self, call: Call) -> Result<Answer, SessionError> {
        self.call_within(call, DEADLINE).await
    }

    /// Calls, and notes when the session turns out to be gone.
    pub(crate) async fn call_within(
        &mut self,
        call: Call,
        deadline: Duration,
    ) -> Result<Answer, SessionError> {
        let answered = self
            .client
            .call(&call, deadline)
            .await
            .map_err(SessionError::from);
        if let Err(SessionError::Ended) = answered {
            self.logged_in = false;
        }
        answered
    }

    /// Remembers the call that gives something back, for the next [`connect`](Self::connect) or the end.
    pub(crate) fn owe(&mut self, call: Call) {
        self.leftovers.push(call);
        if self.leftovers.len() > MAX_LEFTOVERS {
            self.leftovers.remove(0);
        }
    }

    async fn give_back(&mut self) {
        for call in std::mem::take(&mut self.leftovers) {
            let method = call.method();
            if let Err(error) = self.call_within(call, FAREWELL).await {
                tracing::debug!("{method}: {error}");
            }
        }
    }

    /// Gives everything back and logs out. Takes three seconds at most, whatever the server does.
    pub(crate) async fn close(&mut self) {
        let farewell = async {
            self.give_back().await;
            if let Some(content) = self.content.clone().filter(|_| self.logged_in) {
                let logout = Call::new("Logout", &content.session_manager);
                if let Err(error) = self.call_within(logout, FAREWELL).await {
                    tracing::warn!("could not log out: {error}");
                }
            }
        };
        if tokio::time::timeout(WHOLE_FAREWELL, farewell).await.is_err() {
            tracing::warn!("could not log out in time");
        }
        self.logged_in = false;
        self.client.forget_session();
    }

    /// Severity of each event by class or lower-case `eventTypeId`; empty when the user may not see it.
    pub(crate) async fn severities(
        &mut self,
        content: &Content,
    ) -> Result<HashMap<String, String>, SessionError> {
        let call = properties(content, &content.event_manager, "description.eventInfo");
        match self.client.call(&call, DEADLINE).await {
            Ok(answer) => Ok(severities(&answer.element)),
            Err(CallError::Fault(fault)) if !fault.is_not_authenticated() => {
                tracing::info!("events go without a severity: {fault}");
                Ok(HashMap::new())
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Asks for one property of one object.
pub(crate) fn properties(content: &Content, of: &Reference, path: &str) -> Call {
    Call::new("RetrievePropertiesEx", &content.property_collector)
        .nested("specSet", |spec| {
            spec.nested("propSet", |set| set.text("type", &of.ty).text("pathSet", path))
                .nested("objectSet", |set| set.reference("obj", of))
        })
        .nested("options", |options| options)
}

/// Keys of the sessions with this user agent, but for our own.
fn sessions_of(answer: &Element, agent: &str, own: &str) -> Vec<String> {
    let value = answer.at(&["returnval", "objects", "propSet", "val"]);
    let sessions = value.into_iter().flat_map(|v| &v.children);
    sessions
        .filter(|s| s.text_of("userAgent") == Some(agent))
        .filter_map(|s| s.text_of("key"))
        .filter(|key| *key != own)
        .take(MAX_EARLIER)
        .map(str::to_owned)
        .collect()
}

fn content(answer: &Element) -> Option<Content> {
    let content = answer.child("returnval")?;
    let reference = |name: &str| content.child(name).and_then(Reference::of);
    let about = |name: &str| {
        content
            .child("about")
            .and_then(|a| a.text_of(name))
            .unwrap_or_default()
            .to_owned()
    };
    Some(Content {
        full_name: about("fullName"),
        api_version: about("apiVersion"),
        instance: about("instanceUuid"),
        root_folder: reference("rootFolder")?,
        event_manager: reference("eventManager")?,
        session_manager: reference("sessionManager")?,
        property_collector: reference("propertyCollector")?,
        search_index: reference("searchIndex"),
    })
}

/// For EventEx and ExtendedEvent the id is the format's text up to the first bar.
fn severities(answer: &Element) -> HashMap<String, String> {
    let value = answer.at(&["returnval", "objects", "propSet", "val"]);
    let rows = value.into_iter().flat_map(|v| &v.children);
    rows.filter_map(|row| {
        let (key, category) = (row.text_of("key")?, row.text_of("category")?);
        let name = match (key, row.text_of("fullFormat").and_then(|f| f.split_once('|'))) {
            ("EventEx" | "ExtendedEvent", Some((id, _))) => id.to_lowercase(),
            _ => key.to_owned(),
        };
        Some((name, category.to_owned()))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap;

    fn recorded(name: &str) -> Element {
        let path = format!("{}/tests/recorded/{name}.xml", env!("CARGO_MANIFEST_DIR"));
        soap::answer(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    #[test]
    fn names_of_objects_come_from_the_server() {
        let content = content(&recorded("service-content")).unwrap();
        assert_eq!(content.full_name, "VMware vCenter Server 6.5.0 build-5973321");
        assert_eq!(content.api_version, "6.5");
        assert_eq!(content.instance, "dbed6e0c-bd88-4ef6-b594-21283e1c677f");
        assert_eq!(content.root_folder, Reference::new("Folder", "group-d1"));
    }

    #[test]
    fn severities_are_known_by_class() {
        let severities = severities(&recorded("event-info"));
        assert_eq!(
            severities.get("VmPoweredOffEvent").map(String::as_str),
            Some("info")
        );
    }

    #[test]
    fn severities_of_extended_events_are_known_by_their_id() {
        let row = |id: &str| {
            format!("<E><key>EventEx</key><category>error</category><fullFormat>{id}|text</fullFormat></E>")
        };
        let text = format!(
            "<r><returnval><objects><propSet><val>{}{}</val></propSet></objects></returnval></r>",
            row("com.vmware.vc.HA.A"),
            row("esx.problem.b")
        );
        let severities = severities(&crate::xml::parse(&text).unwrap());
        assert_eq!(severities.len(), 2);
        assert_eq!(
            severities.get("com.vmware.vc.ha.a").map(String::as_str),
            Some("error")
        );
    }

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

    #[test]
    fn a_fault_says_what_to_do() {
        let fault = |kind: &str| {
            SessionError::from(CallError::Fault(Fault {
                kind: kind.to_owned(),
                message: String::new(),
            }))
        };
        assert!(matches!(fault("NotAuthenticated"), SessionError::Ended));
        assert!(matches!(
            fault("ManagedObjectNotFound"),
            SessionError::CollectorGone(_)
        ));
        assert!(matches!(fault("InvalidState"), SessionError::Failed(_)));
    }
}
