//! Background work on resources: one task each, and a newer one ends an older one for the same resource.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// The tasks of one kind of resource. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Builds {
    running: Arc<Mutex<HashMap<Uuid, (u64, CancellationToken)>>>,
    shutdown: CancellationToken,
    tasks: TaskTracker,
}

impl Builds {
    /// No task yet; all end when `shutdown` is cancelled.
    pub(crate) fn new(shutdown: CancellationToken, tasks: TaskTracker) -> Self {
        Self {
            running: Arc::default(),
            shutdown,
            tasks,
        }
    }

    /// Starts work on the resource with this id, in place of what is under way for it.
    pub(crate) fn start(&self, id: Uuid, work: impl Future<Output = ()> + Send + 'static) {
        let token = self.shutdown.child_token();
        let number = {
            let mut running = self.running();
            let number = running.get(&id).map_or(0, |(n, _)| n + 1);
            if let Some((_, earlier)) = running.insert(id, (number, token.clone())) {
                earlier.cancel();
            }
            number
        };
        let builds = self.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = work => {}
            }
            let mut running = builds.running();
            if running.get(&id).is_some_and(|(n, _)| *n == number) {
                running.remove(&id);
            }
        });
    }

    /// Starts work that belongs to no resource.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let token = self.shutdown.child_token();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = token.cancelled() => {}
                () = work => {}
            }
        });
    }

    /// Ends what is under way for the resource.
    pub(crate) fn cancel(&self, id: Uuid) {
        if let Some((_, token)) = self.running().remove(&id) {
            token.cancel();
        }
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Uuid, (u64, CancellationToken)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    #[tokio::test]
    async fn newer_work_ends_older_work_on_the_same_resource_only() {
        let tasks = TaskTracker::new();
        let builds = Builds::new(CancellationToken::new(), tasks.clone());
        let (ended, mut ends) = mpsc::channel::<&str>(4);
        let work = |name: &'static str, ended: mpsc::Sender<&'static str>| async move {
            struct Says(&'static str, mpsc::Sender<&'static str>);
            impl Drop for Says {
                fn drop(&mut self) {
                    self.1.try_send(self.0).unwrap();
                }
            }
            let _says = Says(name, ended);
            std::future::pending::<()>().await;
        };
        let (one, other) = (Uuid::new_v4(), Uuid::new_v4());

        builds.start(one, work("older", ended.clone()));
        builds.start(other, work("other", ended.clone()));
        tokio::task::yield_now().await;
        builds.start(one, work("newer", ended.clone()));

        assert_eq!(
            timeout(Duration::from_secs(5), ends.recv()).await.unwrap(),
            Some("older")
        );
        assert!(ends.try_recv().is_err());
        builds.cancel(one);
        builds.cancel(other);
        tasks.close();
        timeout(Duration::from_secs(5), tasks.wait()).await.unwrap();
        assert!(builds.running().is_empty());
    }
}
