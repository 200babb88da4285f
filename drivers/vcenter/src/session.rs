//! A session with the server: logged in once, kept as long as it lives, given back at the end.
//!
//! Sessions are few and an account can be locked, so this never logs in when a session of ours is still
//! alive, and a refused login is told apart from everything else.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dispatch_driver_sdk::{ExposeSecret as _, SecretString};
use tokio::time::{Instant, timeout};

use crate::client::{Answer, CallError, Client};
use crate::content::Content;
use crate::earlier::end_earlier;
use crate::soap::{Call, Fault, Reference};

/// How long an ordinary call may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// How long each call of a farewell may take.
const FAREWELL: Duration = Duration::from_millis(700);
/// Messages in one language, whatever the server's own is.
const LOCALE: &str = "en_US";
/// How long all of it may take.
const WHOLE_FAREWELL: Duration = Duration::from_secs(3);
/// The most calls that give something back that are remembered.
const MAX_LEFTOVERS: usize = 32;

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
        let content = Content::of(&answer.element)
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
                if let Some(agent) = self.earlier.clone() {
                    end_earlier(self, content, &agent, &own.unwrap_or_default()).await?;
                    self.earlier = None;
                }
                Ok(())
            }
            Err(CallError::Fault(fault)) if fault.is_refused_login() => {
                Err(SessionError::LoginRefused(fault))
            }
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

    /// Calls for something this user may not be allowed to have: a refusal is an answer too.
    pub(crate) async fn ask(&mut self, call: Call) -> Result<Result<Answer, Fault>, SessionError> {
        match self.client.call(&call, DEADLINE).await {
            Ok(answer) => Ok(Ok(answer)),
            Err(CallError::Fault(fault)) if !fault.is_not_authenticated() => Ok(Err(fault)),
            Err(error) => Err(self.noted(error.into())),
        }
    }

    /// Calls, and notes when the session turns out to be gone.
    pub(crate) async fn call_within(
        &mut self,
        call: Call,
        deadline: Duration,
    ) -> Result<Answer, SessionError> {
        let answered = self.client.call(&call, deadline).await;
        answered.map_err(|error| self.noted(error.into()))
    }

    fn noted(&mut self, error: SessionError) -> SessionError {
        if let SessionError::Ended = error {
            self.logged_in = false;
        }
        error
    }

    /// Remembers the call that gives something back, for the next [`connect`](Self::connect) or the end.
    pub(crate) fn owe(&mut self, call: Call) {
        self.leftovers.push(call);
        if self.leftovers.len() > MAX_LEFTOVERS {
            self.leftovers.remove(0);
        }
    }

    /// Makes a call that was owed: what it gives back is not needed any more.
    pub(crate) async fn settle(&mut self, call: Call) -> Result<(), SessionError> {
        self.call(call.clone()).await?;
        self.leftovers.retain(|owed| *owed != call);
        Ok(())
    }

    async fn give_back(&mut self) {
        for call in std::mem::take(&mut self.leftovers) {
            let method = call.method();
            if let Err(error) = self.call_within(call, FAREWELL).await {
                tracing::debug!("{method}: {error}");
            }
        }
    }

    /// Gives everything back and logs out, for which there is time whatever else takes: it ends what was not given back too.
    /// Takes three seconds at most, whatever the server does.
    pub(crate) async fn close(&mut self) {
        let farewell = async {
            if timeout(WHOLE_FAREWELL - FAREWELL, self.give_back())
                .await
                .is_err()
            {
                tracing::debug!("not everything could be given back in time");
            }
            if let Some(content) = self.content.clone().filter(|_| self.logged_in) {
                let logout = Call::new("Logout", &content.session_manager);
                if let Err(error) = self.call_within(logout, FAREWELL).await {
                    tracing::warn!("could not log out: {error}");
                }
            }
        };
        if timeout(WHOLE_FAREWELL, farewell).await.is_err() {
            tracing::warn!("could not log out in time");
        }
        self.logged_in = false;
        self.client.forget_session();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_to_do() {
        let fault = |kind: &str| {
            SessionError::from(CallError::Fault(Fault {
                kind: kind.to_owned(),
                ..Fault::default()
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
