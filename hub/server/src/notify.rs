//! What the supervisor is told: ready, reloading, stopping, alive (sd_notify(3)). Without one, nothing.
//!
//! A datagram to `NOTIFY_SOCKET`; lost ones are the supervisor's to miss. While the hub is alive in the sense
//! of `/livez`, and the supervisor asked for it (`WatchdogSec=`), it is told so.

use std::env;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::sleep;

use crate::hub::App;

/// Events are taken.
pub(crate) fn ready() {
    say("READY=1");
}

/// The configuration is read again; [`ready`] follows.
pub(crate) fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let micros = now.tv_sec.saturating_mul(1_000_000) + now.tv_nsec / 1000;
    say(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// The hub stops.
pub(crate) fn stopping() {
    say("STOPPING=1");
}

/// Says that the hub lives, while it does, as often as the supervisor wants. Ends with the hub.
pub(crate) async fn watchdog(app: App) {
    let Some(period) = watchdog_period() else {
        return;
    };
    loop {
        tokio::select! {
            () = app.shutdown.cancelled() => return,
            () = sleep(period / 3) => {}
        }
        if app.live_checks(period / 3).await.iter().all(|check| check.ok) {
            say("WATCHDOG=1");
        }
    }
}

fn watchdog_period() -> Option<Duration> {
    let number = |name: &str| env::var(name).ok()?.parse::<u64>().ok();
    let mine = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
    number("WATCHDOG_USEC")
        .filter(|micros| mine && *micros > 0)
        .map(Duration::from_micros)
}

fn say(state: &str) {
    let Some(name) = env::var("NOTIFY_SOCKET").ok().filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(error) = send(&name, state) {
        tracing::debug!(%error, "the supervisor cannot be told");
    }
}

fn send(name: &str, state: &str) -> std::io::Result<()> {
    let address = match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_supervisor_hears_what_is_said_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        let name = format!("dispatch-test-{}", uuid::Uuid::new_v4());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let by_name = UnixDatagram::bind_addr(&address).unwrap();

        send(path.to_str().unwrap(), "READY=1").unwrap();
        send(&format!("@{name}"), "STOPPING=1").unwrap();

        let heard = |socket: UnixDatagram| {
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        assert_eq!(
            (heard(by_path), heard(by_name)),
            ("READY=1".into(), "STOPPING=1".into())
        );
    }
}
