//! What need not hold up the committer: preparing the next file, sealing the last one, retention.
//!
//! A bounded list of jobs, done by one thread that the committer stops, or by hand ([`Work`](crate::Work)).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dispatch_contract::Sequence;

use crate::active::{Spare, remove_quietly};
use crate::disk::DiskFile;
use crate::identities::Identity;
use crate::index::Index;
use crate::kept;
use crate::lock::lock;
use crate::options::Options;
use crate::retention::{Policy, Sealed, removable};
use crate::segment::Segment;
use crate::view::View;

/// Retention and the gauges are looked after at least this often.
const TICK: Duration = Duration::from_secs(5);
const MOST_JOBS: usize = 64;

/// Something to do.
#[derive(Debug)]
pub(crate) enum Job {
    /// Reserve the next file.
    Prepare,
    /// A segment is complete: give back its free space and write its index.
    Seal {
        segment: Arc<Segment>,
        file: Box<dyn DiskFile>,
        identities: Vec<(Identity, Sequence)>,
    },
    /// See whether anything may be removed.
    Retain,
    /// Nothing more comes.
    Stop,
}

/// Files that are prepared.
#[derive(Debug, Default)]
struct Stock {
    /// Becomes the next segment.
    spare: Option<Spare>,
    /// Kept free for settlements.
    reserve: Option<Spare>,
}

/// The committer's end.
#[derive(Debug)]
pub(crate) struct Upkeep {
    jobs: SyncSender<Job>,
    stock: Arc<Mutex<Stock>>,
    /// A spare file was asked for and not yet taken.
    preparing: bool,
    /// Who does the jobs; nobody when they are done by hand.
    thread: Option<JoinHandle<()>>,
}

impl Upkeep {
    /// The committer's end, the worker and its list of jobs.
    pub(crate) fn new(
        view: Arc<View>,
        options: &Options,
        reserve: Option<Spare>,
    ) -> (Self, Worker, Receiver<Job>) {
        let (jobs, inbox) = sync_channel(MOST_JOBS);
        let stock = Arc::new(Mutex::new(Stock { spare: None, reserve }));
        let worker = Worker {
            ticked: view.clock.elapsed(),
            view,
            policy: Policy {
                age: options.retain_age,
                bytes: options.retain_bytes,
            },
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
            stock: stock.clone(),
            refused: None,
        };
        let upkeep = Self {
            jobs,
            stock,
            preparing: false,
            thread: None,
        };
        (upkeep, worker, inbox)
    }

    /// Lets a thread do the jobs.
    pub(crate) fn start(&mut self, worker: Worker, inbox: Receiver<Job>) -> io::Result<()> {
        let thread = std::thread::Builder::new()
            .name("dispatch-upkeep".into())
            .spawn(move || worker.run(&inbox))?;
        self.thread = Some(thread);
        Ok(())
    }

    /// For others than the committer to ask for retention.
    pub(crate) fn jobs(&self) -> SyncSender<Job> {
        self.jobs.clone()
    }

    pub(crate) fn ask(&self, job: Job) {
        if self.jobs.try_send(job).is_err() {
            tracing::debug!("the journal's upkeep is busy, a job waits for the next tick or opening");
        }
    }

    /// Asks for a spare file, once until it is taken.
    pub(crate) fn prepare(&mut self) {
        if !std::mem::replace(&mut self.preparing, true) {
            self.ask(Job::Prepare);
        }
    }

    pub(crate) fn take_spare(&mut self) -> Option<Spare> {
        self.preparing = false;
        lock(&self.stock).spare.take()
    }

    /// What is kept free for settlements, if it is good for this.
    pub(crate) fn take_reserve(&mut self, good: impl FnOnce(&mut Spare) -> bool) -> Option<Spare> {
        lock(&self.stock).reserve.take_if(good)
    }

    /// A prepared file was not needed after all.
    pub(crate) fn put_back(&self, spare: Spare, reserved: bool) {
        let mut stock = lock(&self.stock);
        match reserved {
            true => stock.reserve = Some(spare),
            false => stock.spare = Some(spare),
        }
    }

    /// Sees that the space for settlements is kept free.
    pub(crate) fn ensure_reserve(&self, view: &View, bytes: u64) -> io::Result<()> {
        make_reserve(view, &self.stock, bytes)
    }

    /// Finishes the jobs and waits for the thread, if there is one.
    pub(crate) fn stop(self) {
        let Some(thread) = self.thread else {
            return;
        };
        // Waits for room if the list is full; an error means that the thread is gone already.
        let asked = self.jobs.send(Job::Stop).is_ok();
        tracing::trace!(asked, "the journal's upkeep stops");
        if thread.join().is_err() {
            tracing::error!("the journal's upkeep panicked");
        }
    }
}

pub(crate) struct Worker {
    view: Arc<View>,
    /// When retention was looked after.
    ticked: Duration,
    policy: Policy,
    segment_bytes: u64,
    reserve_bytes: u64,
    stock: Arc<Mutex<Stock>>,
    /// A file that could not be removed, named once.
    refused: Option<PathBuf>,
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Job>) {
        loop {
            match inbox.recv_timeout(TICK) {
                Ok(Job::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(job) => self.work(job),
                Err(RecvTimeoutError::Timeout) => self.work(Job::Retain),
            }
        }
        self.end();
    }

    /// Does one job.
    pub(crate) fn work(&mut self, job: Job) {
        match job {
            Job::Prepare => self.prepare(),
            Job::Seal {
                segment,
                file,
                identities,
            } => {
                self.seal(&segment, &*file, identities);
                self.retain();
            }
            Job::Retain => {
                self.retain();
                self.reserve();
            }
            Job::Stop => {}
        }
        self.view.measure();
    }

    /// How long until retention must be looked after.
    pub(crate) fn until_tick(&self) -> Duration {
        (self.ticked + TICK).saturating_sub(self.view.clock.elapsed())
    }

    /// Removes what was prepared and is not needed any more.
    pub(crate) fn end(&self) {
        let stock = std::mem::take(&mut *lock(&self.stock));
        for spare in [stock.spare, stock.reserve].into_iter().flatten() {
            remove_quietly(&*self.view.disk, &spare.path);
        }
    }

    fn prepare(&self) {
        if lock(&self.stock).spare.is_some() || !self.reserve() {
            return;
        }
        let (view, number) = (&self.view, self.view.number_spare());
        match Spare::prepare(&*view.disk, &view.dir, number, self.segment_bytes, 0) {
            Ok(spare) => lock(&self.stock).spare = Some(spare),
            Err(error) => tracing::warn!(%error, "cannot prepare the journal's next segment"),
        }
    }

    /// Makes the space for settlements again after it was used; false if there is none.
    fn reserve(&self) -> bool {
        match make_reserve(&self.view, &self.stock, self.reserve_bytes) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(%error, "cannot keep space free for settlements");
                false
            }
        }
    }

    fn seal(&self, segment: &Segment, file: &dyn DiskFile, identities: Vec<(Identity, Sequence)>) {
        if let Err(error) = file.truncate(segment.end()) {
            tracing::warn!(path = %segment.path.display(), %error, "cannot give back a segment's free space");
        }
        let index = Index {
            held: segment.held(),
            places: segment.places(),
            identities,
        };
        if let Err(error) = index.save(&*self.view.disk, &segment.index_path(), &segment.header) {
            tracing::warn!(path = %segment.path.display(), %error, "cannot write a segment's index");
        }
    }

    fn retain(&mut self) {
        self.ticked = self.view.clock.elapsed();
        let segments = self.view.segments();
        let sealed: Vec<_> = segments
            .iter()
            .zip(segments.iter().skip(1))
            .map(|(segment, next)| Sealed {
                last: next.header.first.saturating_sub(1),
                sealed_at: next.header.created,
                bytes: segment.end(),
            })
            .collect();
        let total = segments.iter().map(|s| s.end()).sum();
        let floor = self.view.floor.load(Ordering::Acquire);
        let count = removable(&sealed, total, self.policy, floor, self.view.own_time());
        if count > 0
            && let Err(error) = kept::save(&*self.view.disk, &self.view.dir, sealed[count - 1].last + 1)
        {
            tracing::warn!(%error, "retention cannot say what it removes and removes nothing");
            return;
        }
        for (segment, sealed) in segments.iter().zip(&sealed).take(count) {
            if !self.remove(&segment.path) || !self.view.remove_oldest(segment) {
                break;
            }
            remove_quietly(&*self.view.disk, &segment.index_path());
            self.view
                .count_dropped(sealed.last + 1 - segment.header.first.min(sealed.last + 1));
            tracing::info!(path = %segment.path.display(), last = sealed.last, "retention removed a segment");
        }
    }

    fn remove(&mut self, path: &Path) -> bool {
        match self.view.disk.remove(path) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => {
                if self.refused.as_deref() != Some(path) {
                    tracing::warn!(path = %path.display(), %error, "retention cannot remove a segment");
                    self.refused = Some(path.to_owned());
                }
                false
            }
        }
    }
}

/// Reserves what is kept free for settlements, if it is not there.
fn make_reserve(view: &View, stock: &Mutex<Stock>, bytes: u64) -> io::Result<()> {
    if bytes == 0 || lock(stock).reserve.is_some() {
        return Ok(());
    }
    let made = Spare::reserve(&*view.disk, &view.dir, view.number_spare(), bytes)?;
    // Made without the lock, so somebody may have been faster.
    if let Some(other) = lock(stock).reserve.replace(made) {
        remove_quietly(&*view.disk, &other.path);
    }
    Ok(())
}
