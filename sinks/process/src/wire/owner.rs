//! Whose end of a loopback connection is whose: a port of this machine is open to every process of it, but a call, with
//! its secrets, is for the worker's process group alone.

use std::net::SocketAddr;

use rustix::process::Pid;

/// Whether the process group that `leader` leads listens at the address.
#[cfg(target_os = "linux")]
pub(super) fn listens(at: SocketAddr, leader: Pid) -> bool {
    table::owned(leader, |socket| socket.local == at && socket.listening)
}

/// Whether the process group that `leader` leads is at the other end of a connection, which is at `from` there.
#[cfg(target_os = "linux")]
pub(super) fn connects(from: SocketAddr, leader: Pid) -> bool {
    table::owned(leader, |socket| socket.local == from && !socket.listening)
}

/// Elsewhere this cannot be asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn listens(_: SocketAddr, _: Pid) -> bool {
    true
}

/// Elsewhere this cannot be asked.
#[cfg(not(target_os = "linux"))]
pub(super) fn connects(_: SocketAddr, _: Pid) -> bool {
    true
}

/// The kernel's tables, as proc(5) has them.
#[cfg(target_os = "linux")]
mod table {
    use std::fs;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    use rustix::process::Pid;

    const LISTENING: &str = "0A";

    pub(super) struct Socket {
        pub(super) local: SocketAddr,
        pub(super) listening: bool,
        inode: String,
    }

    /// Whether a process of the group has a socket open that fits.
    pub(super) fn owned(leader: Pid, fits: impl Fn(&Socket) -> bool) -> bool {
        let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .into_iter()
            .filter_map(|path| fs::read_to_string(path).ok())
            .flat_map(|text| text.lines().skip(1).filter_map(socket).collect::<Vec<_>>())
            .filter(|socket| fits(socket))
            .map(|socket| format!("socket:[{}]", socket.inode))
            .collect();
        !inodes.is_empty() && members(leader).any(|process| has_open(&process, &inodes))
    }

    fn socket(line: &str) -> Option<Socket> {
        let fields: Vec<&str> = line.split_whitespace().collect();
        Some(Socket {
            local: address(fields.get(1)?)?,
            listening: *fields.get(3)? == LISTENING,
            inode: (*fields.get(9)?).to_owned(),
        })
    }

    /// `0100007F:1F90`; an IPv4 address inside an IPv6 one, and "any address", are as good as loopback here.
    fn address(text: &str) -> Option<SocketAddr> {
        let (host, port) = text.split_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        let words: Vec<u32> = host
            .as_bytes()
            .chunks(8)
            .filter_map(|word| u32::from_str_radix(std::str::from_utf8(word).ok()?, 16).ok())
            .collect();
        let host = match words[..] {
            [word] => IpAddr::V4(Ipv4Addr::from(word.to_ne_bytes())),
            [a, b, c, d] => {
                let mut bytes = [0; 16];
                for (to, word) in bytes.chunks_mut(4).zip([a, b, c, d]) {
                    to.copy_from_slice(&word.to_ne_bytes());
                }
                let long = Ipv6Addr::from(bytes);
                long.to_ipv4_mapped().map_or(IpAddr::V6(long), IpAddr::V4)
            }
            _ => return None,
        };
        let host = match host.is_unspecified() {
            true => IpAddr::V4(Ipv4Addr::LOCALHOST),
            false => host,
        };
        Some(SocketAddr::new(host, port))
    }

    /// The folders of a group's processes, the leader's first.
    fn members(leader: Pid) -> impl Iterator<Item = std::path::PathBuf> {
        let number = leader.as_raw_nonzero().to_string();
        let first = std::path::Path::new("/proc").join(&number);
        let rest = fs::read_dir("/proc").into_iter().flatten().flatten();
        let rest = rest.map(|entry| entry.path()).filter(move |path| {
            let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
            // After the name in parentheses: state, parent, group.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            fields.split_whitespace().nth(2) == Some(number.as_str())
        });
        std::iter::once(first).chain(rest)
    }

    fn has_open(process: &std::path::Path, sockets: &[String]) -> bool {
        let open = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok())
            .any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::process::{getpgrp, getpid};

    #[test]
    fn a_socket_is_told_from_anothers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(at).unwrap();
        let from = client.local_addr().unwrap();
        let group = getpgrp();
        let stranger = std::process::Command::new("sleep").arg("60").spawn();
        let mut stranger = stranger.unwrap();
        let other = Pid::from_child(&stranger);

        assert!(listens(at, getpid()) && listens(at, group));
        assert!(connects(from, getpid()) && !connects(at, other));
        assert!(!listens(from, getpid()) && !listens(at, other));

        let any = std::net::TcpListener::bind("[::]:0").unwrap();
        let port = any.local_addr().unwrap().port();
        assert!(listens(([127, 0, 0, 1], port).into(), getpid()));
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
