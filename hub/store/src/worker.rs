//! A thread that owns one connection and does what is asked, in order.

use std::thread;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::StoreError;

/// How many calls may wait; further callers wait to be let in.
const QUEUE: usize = 256;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

enum Order {
    Do(Job),
    Close(oneshot::Sender<()>),
}

/// The way to the thread. The thread ends when the last clone is gone, or on [`Worker::close`].
#[derive(Clone)]
pub(crate) struct Worker {
    orders: mpsc::Sender<Order>,
}

impl Worker {
    pub(crate) fn start(name: &str, mut connection: Connection) -> std::io::Result<Self> {
        let (orders, mut inbox) = mpsc::channel(QUEUE);
        let work = move || {
            let mut asked = None;
            while let Some(order) = inbox.blocking_recv() {
                match order {
                    Order::Do(job) => job(&mut connection),
                    Order::Close(closed) => {
                        asked = Some(closed);
                        break;
                    }
                }
            }
            if let Err((_, error)) = connection.close() {
                tracing::warn!(%error, "a file of the store was not closed in order");
            }
            // Nobody may be waiting any more: then there is nobody to tell.
            asked.map(|closed| closed.send(()).is_ok());
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { orders })
    }

    /// Does `work` on the thread. Dropping the future does not stop it.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = work(connection);
            if answer.send(result).is_err() {
                tracing::trace!("nobody waited for the answer of the store");
            }
        });
        self.orders
            .send(Order::Do(job))
            .await
            .map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Lets what is queued end, then closes the file.
    pub(crate) async fn close(&self) {
        let (closed, done) = oneshot::channel();
        if self.orders.send(Order::Close(closed)).await.is_ok() && done.await.is_err() {
            tracing::debug!("a file of the store was closed twice");
        }
    }
}
