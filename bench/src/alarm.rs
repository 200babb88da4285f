//! Waking at a time to the microsecond.
//!
//! The runtime's own timer counts milliseconds, which is more than what an open loop measures.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::unix::AsyncFd;

/// A timer of the kernel.
pub(crate) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// One that is not set.
    #[expect(
        deprecated,
        reason = "`new` takes what may lie about its descriptor; its successor is unsafe; an `OwnedFd` does not lie"
    )]
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(AsyncFd::new(timer)?))
    }

    /// Resolves then, or at once when that is past.
    pub(crate) async fn at(&self, due: Instant) -> io::Result<()> {
        let wait = due.saturating_duration_since(Instant::now());
        if wait < Duration::from_micros(1) {
            return Ok(());
        }
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            },
        };
        rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        let mut expirations = [0; 8];
        loop {
            let mut ready = self.0.readable().await?;
            match ready.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?)) {
                Ok(read) => return read.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_is_never_early_and_one_for_the_past_does_not_wait() {
        let alarm = Alarm::new().unwrap();
        for micros in [0, 300, 2_500] {
            let due = Instant::now() + Duration::from_micros(micros);
            alarm.at(due).await.unwrap();
            assert!(Instant::now() >= due, "{micros}");
        }
        let past = Instant::now();
        tokio::time::timeout(Duration::from_secs(5), alarm.at(past))
            .await
            .unwrap()
            .unwrap();
    }
}
