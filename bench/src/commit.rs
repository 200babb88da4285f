//! Group commit and nothing else: bytes go to a preallocated file, many to one `fdatasync`.
//!
//! One thread takes whatever waits, writes it with one `pwrite` and syncs. It hands the whole batch back, and a task
//! answers everybody: one wake-up for the batch, not one for each. At its end the file is begun again: this is
//! a limit to compare with, not a journal.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, fallocate};
use tokio::sync::{mpsc, oneshot};

/// Longer than what is written in the seconds of a row.
const FILE_BYTES: u64 = 2 << 30;
/// Batches that are durable and not answered yet.
const ANSWERS: usize = 4;

/// Takes bytes and answers when they are on the disk.
#[derive(Clone)]
pub(crate) struct Committer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Vec<Entry>>,
    some: Condvar,
}

struct Entry {
    body: Bytes,
    durable: oneshot::Sender<()>,
}

impl Committer {
    /// Reserves the file and starts the thread and the task, which run as long as the process.
    pub(crate) fn start(path: &Path) -> io::Result<Self> {
        let file = File::create(path)?;
        fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)?;
        file.sync_all()?;
        let shared = Arc::new(Shared::default());
        let (durable, mut batches) = mpsc::channel::<Vec<oneshot::Sender<()>>>(ANSWERS);
        drop(tokio::spawn(async move {
            while let Some(batch) = batches.recv().await {
                for waiting in batch {
                    // Whoever asked may be gone: then nobody is to be told.
                    waiting.send(()).unwrap_or_default();
                }
            }
        }));
        let shares = shared.clone();
        std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || shares.work(&file, &durable))?;
        Ok(Self(shared))
    }

    /// Resolves when the bytes are durable; an error says that they are not and never will be. As many wait as
    /// there are connections, with one event each.
    pub(crate) async fn commit(&self, body: Bytes) -> Result<(), oneshot::error::RecvError> {
        let (durable, answer) = oneshot::channel();
        self.0.push(Entry { body, durable });
        answer.await
    }
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, entry: Entry) {
        let mut waiting = self.waiting();
        waiting.push(entry);
        // With more than one the thread has been woken, or will look by itself after its sync.
        if waiting.len() == 1 {
            self.some.notify_one();
        }
    }

    fn work(&self, file: &File, durable: &mpsc::Sender<Vec<oneshot::Sender<()>>>) {
        let (mut batch, mut bytes, mut end) = (Vec::new(), Vec::new(), 0);
        loop {
            let waiting = self.some.wait_while(self.waiting(), |waiting| waiting.is_empty());
            std::mem::swap(&mut batch, &mut *waiting.unwrap_or_else(PoisonError::into_inner));
            bytes.clear();
            for entry in &batch {
                bytes.extend_from_slice(&entry.body);
            }
            if end + bytes.len() as u64 > FILE_BYTES {
                end = 0;
            }
            let written = file.write_all_at(&bytes, end).and_then(|()| file.sync_data());
            end += bytes.len() as u64;
            let answers = batch.drain(..).map(|entry| entry.durable).collect();
            // Those of a batch that failed are dropped, which tells them. No task: the process ends.
            if written.is_ok() && durable.blocking_send(answers).is_err() {
                return;
            }
        }
    }
}
