//! Idle connections without TLS, by host: used newest first, closed when nobody wanted them for a while.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::connection::Connection;

/// Idle connections kept for a host: a subscription that has many attempts under way keeps as many.
pub(crate) const IDLE_PER_HOST: usize = 1024;
/// Shorter than what usual servers wait, so that it is rarely they who close first.
pub(crate) const IDLE_TIME: Duration = Duration::from_secs(15);

/// All hosts in use.
#[derive(Default)]
pub(crate) struct Pool {
    hosts: Mutex<HashMap<(String, u16), Weak<Host>>>,
}

/// One host's idle connections, shared by all sinks that go there.
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) port: u16,
    idle: Mutex<Vec<(Instant, Connection)>>,
}

impl Pool {
    /// The host, for as long as somebody keeps it.
    pub(crate) fn host(&self, name: &str, port: u16) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (name.to_owned(), port);
        if let Some(host) = hosts.get(&key).and_then(Weak::upgrade) {
            return host;
        }
        let host = Arc::new(Host {
            name: key.0.clone(),
            port,
            idle: Mutex::default(),
        });
        hosts.insert(key, Arc::downgrade(&host));
        host
    }

    /// Closes connections nobody wanted for a while, and forgets hosts nobody keeps.
    pub(crate) fn tidy(&self) {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        hosts.retain(|_, host| match host.upgrade() {
            Some(host) => {
                host.tidy(IDLE_TIME);
                true
            }
            None => false,
        });
    }
}

impl Host {
    /// An idle connection the other side has not closed, if there is one.
    pub(crate) async fn take(&self) -> Option<Connection> {
        loop {
            let (_, mut connection) = self.idle().pop()?;
            if connection.is_open().await {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep(&self, connection: Connection) {
        let mut idle = self.idle();
        if idle.len() < IDLE_PER_HOST {
            idle.push((Instant::now(), connection));
        }
    }

    fn tidy(&self, most: Duration) {
        self.idle().retain(|(since, _)| since.elapsed() < most);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({}:{})", self.name, self.port)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_was_idle_for_long_is_closed_and_a_host_nobody_keeps_is_forgotten() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let pool = Pool::default();
        let host = pool.host("127.0.0.1", listener.local_addr().unwrap().port());
        host.keep(Connection::open(&host.name, host.port).await.unwrap());
        let (mut stream, _) = listener.accept().await.unwrap();

        pool.tidy();
        assert!(
            host.take().await.is_some_and(|open| {
                host.keep(open);
                true
            }),
            "it was idle for a moment"
        );
        host.tidy(Duration::ZERO);

        let read = timeout(Duration::from_secs(5), stream.read(&mut [0; 8])).await;
        assert_eq!(read.unwrap().unwrap(), 0, "the other side sees the end");
        assert!(host.take().await.is_none());
        drop(host);
        pool.tidy();
        assert!(pool.hosts.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn as_many_connections_are_kept_as_were_used_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Pool::default().host("127.0.0.1", listener.local_addr().unwrap().port());
        let mut streams = Vec::new();
        let mut used = Vec::new();
        for _ in 0..300 {
            used.push(Connection::open(&host.name, host.port).await.unwrap());
            streams.push(listener.accept().await.unwrap());
        }

        used.into_iter().for_each(|connection| host.keep(connection));

        assert_eq!(host.idle().len(), 300);
    }
}
