//! One driver as the hub sees it while it runs: who it is, its token, its state, its last lines.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dispatch_contract::{ExposeSecret as _, SecretString};
use dispatch_schemas::Status;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::DriverIdentity;
use super::lines::Lines;
use super::record::Record;

/// Longest reason a driver may report, in characters.
const LONGEST_REASON: usize = 500;

/// A driver that is supervised.
pub(crate) struct Slot {
    pub(crate) identity: DriverIdentity,
    /// New for each process, known to it only; none while there is no process.
    token: Mutex<Option<SecretString>>,
    /// What it has done so far.
    pub(crate) record: Arc<Record>,
    pub(crate) lines: Lines,
    /// Somebody wants it to end.
    pub(crate) stop: CancellationToken,
    /// It has ended, and so has its process.
    pub(crate) ended: CancellationToken,
    /// It spoke to the hub.
    pub(crate) contact: Notify,
    state: Mutex<State>,
}

/// State of a driver. CREATING, then READY when it runs, ERROR when it ended or says it cannot work; an ERROR
/// stays until it runs again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) status: Status,
    /// Why it is ERROR.
    pub(crate) reason: Option<String>,
    /// Where its process listens, if it does.
    pub(crate) listen: Option<SocketAddr>,
    /// Its type says that it listens where it is told.
    pub(crate) exposed: bool,
    /// The process itself has said how it is; running alone says less.
    reported: bool,
}

impl Slot {
    /// A driver that goes on with what it has done before.
    pub(crate) fn new(identity: DriverIdentity, record: Arc<Record>) -> Self {
        Self {
            identity,
            token: Mutex::default(),
            record,
            lines: Lines::default(),
            stop: CancellationToken::new(),
            ended: CancellationToken::new(),
            contact: Notify::new(),
            state: Mutex::new(State {
                status: Status::Creating,
                reason: None,
                listen: None,
                exposed: false,
                reported: false,
            }),
        }
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }

    pub(crate) fn state(&self) -> State {
        self.lock().clone()
    }

    /// A new process begins: what the last one said does not count. `told` is where it was told to listen.
    pub(crate) fn began(&self, told: Option<SocketAddr>) {
        let mut state = self.lock();
        state.reported = false;
        (state.listen, state.exposed) = (told, told.is_some());
    }

    /// It listens there.
    pub(crate) fn listens(&self, address: SocketAddr) {
        self.lock().listen = Some(address);
    }

    /// A token for the process that begins; the one before is refused from now on.
    pub(crate) fn renew_token(&self) -> SecretString {
        let random = || Uuid::new_v4().simple().to_string();
        let token = SecretString::from(random() + &random());
        *self.token() = Some(token.clone());
        token
    }

    /// There is no process any more that could have it.
    pub(crate) fn revoke_token(&self) {
        *self.token() = None;
    }

    /// Somebody told it to wait.
    pub(crate) fn pauses(&self) {
        let mut state = self.lock();
        (state.status, state.reason, state.listen) = (Status::Paused, None, None);
    }

    /// It runs.
    pub(crate) fn runs(&self) {
        let mut state = self.lock();
        if !state.reported {
            (state.status, state.reason) = (Status::Ready, None);
        }
    }

    /// It does not, and why.
    pub(crate) fn failed(&self, reason: String) {
        let mut state = self.lock();
        (state.status, state.reason, state.listen) = (Status::Error, Some(reason), None);
    }

    /// It says itself how it is: `None` is well.
    pub(crate) fn reports(&self, problem: Option<&str>) {
        let mut state = self.lock();
        state.reported = true;
        match problem {
            None => (state.status, state.reason) = (Status::Ready, None),
            Some(problem) => {
                let short = problem
                    .chars()
                    .filter(|c| !c.is_control())
                    .take(LONGEST_REASON)
                    .collect();
                (state.status, state.reason) = (Status::Error, Some(short));
            }
        }
    }

    /// Whether this is the slot's token; takes as long for a wrong one as for the right one.
    pub(crate) fn admits(&self, token: &str) -> bool {
        let own = self.token();
        let Some(own) = own.as_ref() else {
            return false;
        };
        let (own, given) = (own.expose_secret().as_bytes(), token.as_bytes());
        let different = own.iter().zip(given).fold(0, |all, (a, b)| all | (a ^ b));
        std::hint::black_box(different) == 0 && own.len() == given.len()
    }

    fn token(&self) -> MutexGuard<'_, Option<SecretString>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that the slot has ended, however the task that ran it did.
pub(crate) struct EndGuard(pub(crate) Arc<Slot>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        self.0.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot() -> Slot {
        Slot::new(
            DriverIdentity {
                organization: "dispatch".into(),
                id: Uuid::nil(),
                name: "d".into(),
            },
            Arc::default(),
        )
    }

    #[test]
    fn only_its_own_token_is_admitted() {
        let (one, other) = (slot(), slot());
        assert!(!one.admits(""), "there is no process yet");
        let old = one.renew_token();
        let (token, others) = (one.renew_token(), other.renew_token());
        let token = token.expose_secret();
        assert!(one.admits(token));
        for wrong in [
            "",
            "x",
            &token[1..],
            &format!("{token}x"),
            others.expose_secret(),
            old.expose_secret(),
        ] {
            assert!(!one.admits(wrong), "{wrong}");
        }
        one.revoke_token();
        assert!(!one.admits(token));
    }

    #[test]
    fn an_error_stays_until_it_runs_again_and_its_own_word_counts_more() {
        let slot = slot();
        let status = || slot.state().status;
        assert_eq!(status(), Status::Creating);
        slot.failed("exited".to_owned());
        slot.began(None);
        assert_eq!(status(), Status::Error);
        slot.runs();
        assert_eq!((status(), slot.state().reason), (Status::Ready, None));
        slot.reports(Some("no login"));
        slot.runs();
        assert_eq!(
            (status(), slot.state().reason.as_deref()),
            (Status::Error, Some("no login"))
        );
        slot.began(None);
        slot.runs();
        assert_eq!(status(), Status::Ready);
    }
}
