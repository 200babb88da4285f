//! Opening a journal: recovers the folder, puts the parts together and starts the threads, or none.

use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};

use crate::clock::{Clock, RealClock};
use crate::committer::Committer;
use crate::disk::{Disk, RealDisk};
use crate::error::OpenError;
use crate::folder::lock_folder;
use crate::journal::{Inner, Journal};
use crate::lock::lock;
use crate::manual::Work;
use crate::options::Options;
use crate::queue::Queue;
use crate::recover::{Recovered, recover};
use crate::upkeep::{Job, Upkeep, Worker};
use crate::view::{Surroundings, View};

impl Journal {
    /// Opens the journal in a folder, making it if there is none, and repairs what a crash left.
    ///
    /// Blocks while it reads the last segment. Damage is reported, never a reason to refuse.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovered), OpenError> {
        let held = lock_folder(dir)?;
        Self::start(Arc::new(RealDisk), dir, &options, Some(held))
    }

    /// Opens a journal on another disk, without a lock: for tests and simulations.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        Self::start(disk, dir, &options, None)
    }

    /// Opens a journal on another disk and clock, without a lock and without threads: nothing is written but by the
    /// steps of [`Work`], and files are read on the thread that asks. For simulations.
    pub fn open_manual(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovered, Work), OpenError> {
        let surroundings = Surroundings {
            disk,
            clock,
            inline: true,
        };
        let parts = Parts::new(surroundings, dir, options, None)?;
        let work = Work::new(parts.committer, parts.worker, parts.inbox);
        Ok((parts.journal, parts.recovered, work))
    }

    fn start(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: &Options,
        held: Option<std::fs::File>,
    ) -> Result<(Self, Recovered), OpenError> {
        let surroundings = Surroundings {
            disk,
            clock: Arc::new(RealClock::default()),
            inline: false,
        };
        let mut parts = Parts::new(surroundings, dir, options, held)?;
        let failed = |e| OpenError::of(dir, e);
        let upkeep = &mut parts.committer.upkeep;
        upkeep.start(parts.worker, parts.inbox).map_err(failed)?;
        let committer = parts.committer;
        let thread = std::thread::Builder::new()
            .name("dispatch-journal".into())
            .spawn(move || committer.run())
            .map_err(failed)?;
        *lock(&parts.journal.inner.committer) = Some(thread);
        Ok((parts.journal, parts.recovered))
    }
}

/// An opened journal that nobody works for yet.
struct Parts {
    journal: Journal,
    recovered: Recovered,
    committer: Committer,
    worker: Worker,
    inbox: Receiver<Job>,
}

impl Parts {
    fn new(
        surroundings: Surroundings,
        dir: &Path,
        options: &Options,
        held: Option<std::fs::File>,
    ) -> Result<Self, OpenError> {
        let manual = surroundings.inline;
        let clock = surroundings.clock.clone();
        let recovery = recover(&*surroundings.disk, &*clock, dir, options)?;
        let view = Arc::new(View::new(
            surroundings,
            dir.to_owned(),
            options.tail_bytes,
            recovery.own_time,
            recovery.ledger,
            recovery.segments,
            recovery.report.head,
        ));
        for damage in &recovery.report.damage {
            view.report(damage);
        }
        if let Some(torn) = &recovery.report.torn {
            tracing::warn!(%torn, "cut the unfinished end of the journal");
        }
        view.measure();
        let queue = Arc::new(Queue::new(options, clock, manual));
        let (mut upkeep, worker, inbox) = Upkeep::new(view.clone(), options, recovery.reserve);
        let jobs = upkeep.jobs();
        if recovery.active.is_none() {
            upkeep.prepare();
        }
        let committer = Committer {
            view: view.clone(),
            queue: queue.clone(),
            upkeep,
            active: recovery.active,
            next: recovery.report.head + 1,
            identities: recovery.identities,
            identity_seed: recovery.identity_seed,
            segment_bytes: options.segment_bytes,
            chain: options.chain,
            reserve_bytes: options.reserve_bytes,
            buffer: Vec::new(),
            failing: false,
            lock: held,
        };
        let inner = Inner {
            view,
            queue,
            upkeep: jobs,
            committer: Mutex::new(None),
            max_group_bytes: options.max_group_bytes,
            identity_seed: recovery.identity_seed,
        };
        Ok(Self {
            journal: Journal {
                inner: Arc::new(inner),
            },
            recovered: recovery.report,
            committer,
            worker,
            inbox,
        })
    }
}
