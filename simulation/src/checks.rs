//! What must hold whenever the log is read back: as a life begins, and at the end of everything.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dispatch_contract::{Log, Page, Record, Sequence, Settled, SubscriptionId};
use dispatch_journal::{Journal, Recovered};

use crate::producers::checkpoint_value;
use crate::published::Published;
use crate::store::Store;
use crate::witness::{Book, Given, name};

/// What is looked at.
pub(crate) struct Checks<'a> {
    /// The log, with everything that was ever seen of it.
    pub(crate) published: &'a Published,
    /// What the world outside saw.
    pub(crate) book: &'a Book,
    /// The subscriptions.
    pub(crate) store: &'a Store,
    /// Retention was at work, so an old event may be taken a second time.
    pub(crate) forgets: bool,
}

/// Reads the whole log.
pub(crate) async fn read_back(journal: &Journal, recovered: &Recovered) -> Result<Vec<Page>, String> {
    let mut pages = Vec::new();
    let mut at = recovered.first.max(1);
    while at <= journal.head() {
        let page = journal
            .read(at, 64 * 1024)
            .await
            .map_err(|error| error.to_string())?;
        if page.next <= at {
            return Err(format!("a read stands still at {at}"));
        }
        at = page.next;
        pages.push(page);
    }
    Ok(pages)
}

impl Checks<'_> {
    /// Everything that must hold as a life begins.
    pub(crate) fn opening(&self, journal: &Journal, recovered: &Recovered) -> Result<(), String> {
        self.receipts()?;
        self.nothing_invented()?;
        let settled = self.settled_once()?;
        self.progress(recovered, &settled)?;
        self.few_repeats(&settled)?;
        self.checkpoints(journal)
    }

    /// Whoever has a receipt for an event finds it in the log.
    fn receipts(&self) -> Result<(), String> {
        for (posted, receipt) in self.book.posted.iter().filter_map(|(n, p)| Some((n, p.receipt?))) {
            match self.published.get(receipt) {
                Some(Record::Event(c)) if name(&c.organization, &c.event) == *posted => {}
                other => {
                    return Err(format!(
                        "{posted:?} was acknowledged as {receipt}, there is {other:?}"
                    ));
                }
            }
        }
        for (id, receipt) in self.book.aimed.iter().filter_map(|(id, r)| Some((id, (*r)?))) {
            match self.published.get(receipt) {
                Some(Record::Event(c)) if c.event.id() == id && c.target.is_some() => {}
                other => {
                    return Err(format!(
                        "aimed {id} was acknowledged as {receipt}, there is {other:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every event was posted by somebody, as it is, and is there once.
    fn nothing_invented(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for (sequence, committed) in self.published.events() {
            let event = &committed.event;
            if committed.target.is_some() {
                if !self.book.aimed.contains_key(event.id()) {
                    return Err(format!("nobody aimed {sequence}"));
                }
                continue;
            }
            let name = name(&committed.organization, event);
            if event.source() == "/reply" {
                if !self.book.replies.contains(event.id()) {
                    return Err(format!("no sink answered with {sequence}, {}", event.id()));
                }
            } else if self
                .book
                .posted
                .get(&name)
                .is_none_or(|posted| posted.event != *event)
            {
                return Err(format!("nobody posted {sequence}, {name:?}"));
            }
            if !seen.insert(name.clone()) && !self.forgets {
                return Err(format!(
                    "{name:?} is in the log twice, the second time as {sequence}"
                ));
            }
        }
        Ok(())
    }

    /// No delivery is settled twice, and none as delivered that no sink took.
    fn settled_once(&self) -> Result<BTreeMap<(SubscriptionId, Sequence), Settled>, String> {
        let mut settled = BTreeMap::new();
        for settlement in self.published.settlements() {
            let key = (settlement.subscription, settlement.event);
            if settled.insert(key, settlement.settled).is_some() {
                return Err(format!("settled twice: {settlement:?}"));
            }
            let given = self.book.given.get(&key).map(Vec::as_slice).unwrap_or_default();
            if settlement.settled == Settled::Delivered
                && !given.iter().any(|g| g.taken.is_some() && !g.dead_letter)
            {
                return Err(format!("no sink took what is settled: {settlement:?}"));
            }
            if settlement.settled == Settled::DeadLettered && settlement.failures.is_empty() {
                return Err(format!("a dead letter does not say why: {settlement:?}"));
            }
            let all = self.store.live.iter().chain(&self.store.gone);
            let stored = all
                .into_iter()
                .find(|stored| stored.id == settlement.subscription);
            let wanted = match (stored, self.published.get(settlement.event)) {
                (Some(stored), Some(Record::Event(committed))) => stored.wants(settlement.event, committed),
                _ => false,
            };
            if !wanted {
                return Err(format!("nobody wanted what is settled: {settlement:?}"));
            }
        }
        Ok(settled)
    }

    /// What a subscription has behind it, and nothing else, is settled.
    fn progress(
        &self,
        recovered: &Recovered,
        settled: &BTreeMap<(SubscriptionId, Sequence), Settled>,
    ) -> Result<(), String> {
        for stored in &self.store.live {
            let progress = recovered.progress.get(&stored.id);
            for (sequence, committed) in self.published.events() {
                if !stored.wants(sequence, committed) {
                    continue;
                }
                let is_settled = settled.contains_key(&(stored.id, sequence));
                let behind = progress.is_some_and(|progress| progress.covers(sequence));
                let who = &stored.name;
                if behind && !is_settled {
                    return Err(format!("{who} has {sequence} behind it, which was never settled"));
                }
                if is_settled && !behind {
                    return Err(format!("{who} has settled {sequence} and does not know it"));
                }
                if !is_settled && sequence < recovered.first {
                    return Err(format!("{who} owes {sequence}, which retention removed"));
                }
            }
        }
        Ok(())
    }

    /// What a sink took in the last life and will get again is no more than could be under way, and as much that was not
    /// written: whatever ended that life, and however the disk was.
    fn few_repeats(&self, settled: &BTreeMap<(SubscriptionId, Sequence), Settled>) -> Result<(), String> {
        let taken =
            |given: &Given| given.life == self.book.life && !given.dead_letter && given.taken.is_some();
        for stored in &self.store.live {
            let of = (stored.id, Sequence::MIN)..=(stored.id, Sequence::MAX);
            let again = self
                .book
                .given
                .range(of)
                .filter(|(key, given)| given.iter().any(taken) && !settled.contains_key(key));
            let (again, most) = (again.count(), 2 * self.book.most_at_once_of(stored.id));
            if again > most {
                return Err(format!(
                    "{} will get {again} a second time, {most} are allowed",
                    stored.name
                ));
            }
        }
        Ok(())
    }

    /// A driver's checkpoint is never behind its receipts and never ahead of its events.
    fn checkpoints(&self, journal: &Journal) -> Result<(), String> {
        for ((organization, driver), receipt) in &self.book.checkpoints {
            let value = checkpoint_value(journal.checkpoint(organization, driver).as_deref());
            if value < *receipt {
                return Err(format!(
                    "{driver} got a receipt for checkpoint {receipt}, there is {value}"
                ));
            }
            let of_driver = |(_, c): &(Sequence, &dispatch_contract::Committed)| {
                *c.organization == **organization && c.event.source() == driver && c.target.is_none()
            };
            let events = self.published.events().filter(of_driver);
            let numbers: BTreeSet<u64> = events.filter_map(|(_, c)| c.event.id().parse().ok()).collect();
            if let Some(missing) = (1..=value).find(|number| !numbers.contains(number)) {
                return Err(format!(
                    "{driver}: checkpoint {value} is ahead of event {missing}"
                ));
            }
        }
        Ok(())
    }

    /// Nobody owes anything at or before the floor, as the log has it: a crash now does not make it owed again.
    pub(crate) fn floor(&self, floor: Sequence) -> Result<(), String> {
        let settled = self.settled_once()?;
        for stored in &self.store.live {
            let mut before = self
                .published
                .events()
                .take_while(|(sequence, _)| *sequence <= floor);
            let owed = before.find(|(sequence, committed)| {
                stored.wants(*sequence, committed) && !settled.contains_key(&(stored.id, *sequence))
            });
            if let Some((sequence, _)) = owed {
                return Err(format!(
                    "the floor is {floor}, and in the log {} owes {sequence}",
                    stored.name
                ));
            }
        }
        Ok(())
    }

    /// When everything has come to rest, nobody owes anything.
    pub(crate) fn nothing_owed(&self) -> Result<(), String> {
        let settled = self.settled_once()?;
        for stored in &self.store.live {
            let owed = self.published.events().find(|(sequence, committed)| {
                stored.wants(*sequence, committed) && !settled.contains_key(&(stored.id, *sequence))
            });
            if let Some((sequence, _)) = owed {
                return Err(format!("{} never got {sequence}", stored.name));
            }
        }
        Ok(())
    }

    /// Everything a sink took in the last life before `until` is settled.
    pub(crate) fn nothing_to_repeat(&self, until: Duration) -> Result<(), String> {
        let settled = self.settled_once()?;
        let live: BTreeSet<SubscriptionId> = self.store.live.iter().map(|stored| stored.id).collect();
        for (key, given) in &self.book.given {
            let in_time = |g: &Given| {
                g.life == self.book.life && !g.dead_letter && g.taken.is_some_and(|taken| taken <= until)
            };
            if given.iter().any(in_time) && live.contains(&key.0) && !settled.contains_key(key) {
                return Err(format!(
                    "{} took {} in good time and will get it again",
                    key.0, key.1
                ));
            }
        }
        Ok(())
    }
}
