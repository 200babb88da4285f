//! Places for connections: bounded, and given to those who use them.
//!
//! A connection sits on a [`Seat`] that knows what it does: waits for its first request, is between requests,
//! sends a body, is being answered. When all seats are taken a newcomer gets the seat of one that only waits:
//! of the source that has most connections, the one that has waited longest; if there is none, that of a body
//! that has taken long. So slow senders in any number keep nobody out, and who is being answered, or was just
//! now, is never pushed aside. When there is no such seat the newcomer is told 503. Those who wait too long
//! leave by themselves ([`Places::sweep`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// How long the head of a connection's first request may take.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be without a request, or with only part of its head.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a body may take to arrive; the doors answer before this.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(40);
/// Between two requests a connection keeps its seat for at least this long.
const BREATH: Duration = Duration::from_secs(1);
/// A body that has taken this long gives up its seat when there is no other.
const SLOW_BODY: Duration = Duration::from_secs(5);

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request came yet.
    Fresh = 0,
    /// Between two requests.
    Idle = 1,
    /// A body is on its way.
    Body = 2,
    /// It is being answered.
    Busy = 3,
}

/// Where one connection sits.
#[derive(Debug)]
pub(crate) struct Seat {
    source: IpAddr,
    began: Instant,
    /// Milliseconds since `began`, and in the lowest two bits the phase.
    doing: AtomicU64,
    /// Rung when the connection must leave.
    leave: Notify,
}

impl Seat {
    /// A request has come.
    pub(crate) fn busy(&self) {
        self.set(Phase::Busy);
    }

    /// Its body is still on its way.
    pub(crate) fn awaits_body(&self) {
        if self.now().0 != Phase::Body {
            self.set(Phase::Body);
        }
    }

    /// It was answered.
    pub(crate) fn idle(&self) {
        self.set(Phase::Idle);
    }

    /// Who sits on it.
    pub(crate) fn source(&self) -> IpAddr {
        self.source
    }

    /// Resolves when the seat is wanted, or was sat on too long.
    pub(crate) async fn wanted(&self) {
        self.leave.notified().await;
    }

    fn set(&self, phase: Phase) {
        let since = self.began.elapsed().as_millis() as u64;
        self.doing.store(since << 2 | phase as u64, Ordering::Relaxed);
    }

    /// What it does and for how long.
    fn now(&self) -> (Phase, Duration) {
        let doing = self.doing.load(Ordering::Relaxed);
        let phase = match doing & 3 {
            0 => Phase::Fresh,
            1 => Phase::Idle,
            2 => Phase::Body,
            _ => Phase::Busy,
        };
        let since = Duration::from_millis(doing >> 2);
        (phase, self.began.elapsed().saturating_sub(since))
    }

    /// How readily it is given away; `None` for those who are being served.
    fn claim(&self) -> Option<(bool, Duration)> {
        match self.now() {
            (Phase::Fresh, waited) => Some((true, waited)),
            (Phase::Idle, waited) if waited >= BREATH => Some((true, waited)),
            (Phase::Body, waited) if waited >= SLOW_BODY => Some((false, waited)),
            (Phase::Idle | Phase::Body | Phase::Busy, _) => None,
        }
    }

    fn overstays(&self) -> bool {
        match self.now() {
            (Phase::Fresh, waited) => waited > HEAD_TIMEOUT,
            (Phase::Idle, waited) => waited > IDLE_TIMEOUT,
            (Phase::Body, waited) => waited > BODY_TIMEOUT,
            (Phase::Busy, _) => false,
        }
    }
}

/// All seats.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Mutex<Taken>,
    /// Rung when one who was sent away has gone.
    gone: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    seats: HashMap<u64, Arc<Seat>>,
    of: HashMap<IpAddr, usize>,
    /// Sent away, but not gone yet: they still have a socket.
    leaving: usize,
}

/// A connection's hold on its seat; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    /// The seat.
    pub(crate) seat: Arc<Seat>,
}

impl Places {
    /// A seat among at most `most`, if need be that of somebody who only waits.
    pub(crate) fn take(self: &Arc<Self>, source: IpAddr, most: usize) -> Option<Place> {
        let mut taken = self.lock();
        if taken.seats.len() >= most.max(1) && !taken.send_one_away() {
            return None;
        }
        let seat = Arc::new(Seat {
            source,
            began: Instant::now(),
            doing: AtomicU64::new(Phase::Fresh as u64),
            leave: Notify::new(),
        });
        let number = taken.next;
        taken.next += 1;
        taken.seats.insert(number, seat.clone());
        *taken.of.entry(source).or_default() += 1;
        drop(taken);
        Some(Place {
            places: self.clone(),
            number,
            seat,
        })
    }

    /// Sends away somebody who only waits, if there is anybody.
    pub(crate) fn send_one_away(&self) -> bool {
        self.lock().send_one_away()
    }

    /// Sends away all who wait too long; says how many.
    pub(crate) fn sweep(&self) -> usize {
        let mut taken = self.lock();
        let late: Vec<u64> = taken
            .seats
            .iter()
            .filter_map(|(number, seat)| seat.overstays().then_some(*number))
            .collect();
        for number in &late {
            taken.send_away(*number);
        }
        late.len()
    }

    /// Connections that sit.
    pub(crate) fn count(&self) -> usize {
        self.lock().seats.len()
    }

    /// Resolves when fewer than `most` of those sent away still have to go.
    pub(crate) async fn cleared(&self, most: usize) {
        loop {
            let gone = self.gone.notified();
            if self.lock().leaving < most.max(1) {
                return;
            }
            gone.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn send_one_away(&mut self) -> bool {
        let rank = |seat: &Seat| {
            let (waits, waited) = seat.claim()?;
            Some((waits, self.of.get(&seat.source).copied().unwrap_or(0), waited))
        };
        let ranked = self
            .seats
            .iter()
            .filter_map(|(number, seat)| Some((rank(seat)?, *number)));
        let Some((_, number)) = ranked.max() else {
            return false;
        };
        self.send_away(number);
        true
    }

    fn send_away(&mut self, number: u64) {
        if let Some(seat) = self.remove(number) {
            self.leaving += 1;
            seat.leave.notify_one();
        }
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Seat>> {
        let seat = self.seats.remove(&number)?;
        if let Some(count) = self.of.get_mut(&seat.source) {
            *count -= 1;
            if *count == 0 {
                self.of.remove(&seat.source);
            }
        }
        Some(seat)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if taken.remove(self.number).is_none() {
            taken.leaving -= 1;
            self.places.gone.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    fn source(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn must_leave(place: &Place) -> bool {
        place.seat.wanted().now_or_never().is_some()
    }

    #[test]
    fn a_newcomer_gets_the_seat_of_the_one_that_waited_longest_and_never_of_one_being_answered() {
        let places = Arc::new(Places::default());
        let busy = places.take(source(1), 3).unwrap();
        busy.seat.busy();
        let longest = places.take(source(1), 3).unwrap();
        std::thread::sleep(Duration::from_millis(3));
        let shorter = places.take(source(1), 3).unwrap();

        let newcomer = places.take(source(1), 3).unwrap();

        assert!(must_leave(&longest));
        assert!(!must_leave(&shorter) && !must_leave(&busy) && !must_leave(&newcomer));
        assert_eq!(places.count(), 3);
        drop(longest);
        assert_eq!(places.count(), 3, "its seat was given away already");
    }

    #[test]
    fn nobody_new_is_let_in_until_those_sent_away_have_gone() {
        let places = Arc::new(Places::default());
        let leaving = places.take(source(1), 1).unwrap();
        let _newcomer = places.take(source(1), 1).unwrap();

        assert!(
            places.cleared(1).now_or_never().is_none(),
            "its socket is still open"
        );
        drop(leaving);

        assert!(places.cleared(1).now_or_never().is_some());
    }

    #[test]
    fn the_source_with_most_connections_gives_up_a_seat_first() {
        let places = Arc::new(Places::default());
        let alone = places.take(source(1), 3).unwrap();
        std::thread::sleep(Duration::from_millis(3));
        let many = [(); 2].map(|()| places.take(source(2), 3).unwrap());

        let _newcomer = places.take(source(3), 3).unwrap();

        assert!(!must_leave(&alone), "it waited longest, but it is one");
        assert_eq!(many.iter().filter(|place| must_leave(place)).count(), 1);
    }

    #[test]
    fn when_all_are_being_served_there_is_no_seat_until_one_leaves() {
        let places = Arc::new(Places::default());
        let served = [(); 3].map(|()| places.take(source(1), 3).unwrap());
        served[0].seat.busy();
        served[1].seat.awaits_body();
        served[2].seat.idle();

        assert!(places.take(source(2), 3).is_none());
        drop(served);

        assert!(places.take(source(2), 2).is_some());
    }

    #[test]
    fn who_has_just_come_is_not_swept_out() {
        let places = Arc::new(Places::default());
        let _fresh = places.take(source(1), 2).unwrap();

        assert_eq!(places.sweep(), 0);
    }
}
