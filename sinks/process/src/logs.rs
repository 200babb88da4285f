//! What a call printed: lines, bounded, taken from a pipe that is always emptied.

use std::os::fd::OwnedFd;

use dispatch_contract::Logs;
use tokio::net::unix::pipe;

/// Lines kept of each stream and call.
pub(crate) const MAX_LINES: usize = 1000;
/// Bytes kept of each stream and call.
pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// What an answer leaves in the pipe is read up to here; a pipe holds no more unless the function enlarged it.
const MAX_DRAIN: usize = 1024 * 1024;

/// The lines of one stream during one call.
#[derive(Debug, Default)]
pub(crate) struct Capture {
    lines: Vec<String>,
    partial: Vec<u8>,
    kept: usize,
    dropped: u64,
    /// The current line lost bytes, or all of them.
    cut: bool,
}

impl Capture {
    /// Takes what the stream brought.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.lines.len() >= MAX_LINES || self.kept >= MAX_BYTES {
                self.overflow(bytes);
                return;
            }
            let end = bytes.iter().position(|b| *b == b'\n');
            let line = &bytes[..end.unwrap_or(bytes.len())];
            let room = MAX_BYTES - self.kept;
            self.partial.extend_from_slice(&line[..line.len().min(room)]);
            self.kept += line.len().min(room);
            self.cut |= line.len() > room;
            match end {
                None => return,
                Some(end) => {
                    self.end_line();
                    bytes = &bytes[end + 1..];
                }
            }
        }
    }

    /// Counts what there is no room for.
    fn overflow(&mut self, bytes: &[u8]) {
        if !self.partial.is_empty() {
            // The line that reached the bound: kept as far as it fitted.
            let end = bytes.iter().position(|b| *b == b'\n');
            self.cut |= end != Some(0);
            let Some(end) = end else { return };
            self.end_line();
            return self.overflow(&bytes[end + 1..]);
        }
        self.dropped += bytes.iter().filter(|b| **b == b'\n').count() as u64;
        if let Some(last) = bytes.last() {
            self.cut = *last != b'\n';
        }
    }

    fn end_line(&mut self) {
        let line = self.partial.strip_suffix(b"\r").unwrap_or(&self.partial);
        self.lines.push(String::from_utf8_lossy(line).into_owned());
        self.partial.clear();
        self.dropped += u64::from(std::mem::take(&mut self.cut));
    }

    fn end(mut self) -> (Vec<String>, u64) {
        if !self.partial.is_empty() {
            self.end_line();
        } else if self.cut {
            self.dropped += 1;
        }
        (self.lines, self.dropped)
    }

    /// The logs of a call.
    pub(crate) fn logs(stdout: Self, stderr: Self) -> Logs {
        let (stdout, out_dropped) = stdout.end();
        let (stderr, err_dropped) = stderr.end();
        Logs {
            stdout,
            stderr,
            dropped: out_dropped + err_dropped,
        }
    }
}

/// Our end of a worker's standard output or standard error.
#[derive(Debug)]
pub(crate) struct Tap {
    pipe: pipe::Receiver,
    open: bool,
}

impl Tap {
    pub(crate) fn new(pipe: OwnedFd) -> std::io::Result<Self> {
        let pipe = pipe::Receiver::from_owned_fd(pipe)?;
        Ok(Self { pipe, open: true })
    }

    /// Resolves when there may be something to [`pump`](Tap::pump); never once the other end is closed.
    pub(crate) async fn readable(&self) {
        if !self.open || self.pipe.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Reads once, without waiting.
    pub(crate) fn pump(&mut self, buffer: &mut [u8], into: Option<&mut Capture>) {
        match self.pipe.try_read(buffer) {
            Ok(0) => self.open = false,
            Ok(n) => {
                if let Some(capture) = into {
                    capture.feed(&buffer[..n]);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => self.open = false,
        }
    }

    /// Reads what is in the pipe now, without waiting for more. Asks the pipe itself: the runtime may not have
    /// heard yet of bytes that were written before the worker's answer.
    pub(crate) fn drain(&mut self, buffer: &mut [u8], mut into: Option<&mut Capture>) {
        let mut left = MAX_DRAIN;
        while self.open && left > 0 {
            match rustix::io::read(&self.pipe, &mut *buffer) {
                Ok(0) => self.open = false,
                Ok(n) => {
                    if let Some(capture) = into.as_deref_mut() {
                        capture.feed(&buffer[..n]);
                    }
                    left = left.saturating_sub(n);
                    if n < buffer.len() {
                        return;
                    }
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, u64) {
        let mut capture = Capture::default();
        for piece in pieces {
            capture.feed(piece);
        }
        capture.end()
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let got = lines(&[b"a", b"b\r\n\nc", b"\xffd", b"\nlast"]);
        assert_eq!(
            got,
            (
                vec!["ab".into(), "".into(), "c\u{fffd}d".into(), "last".into()],
                0
            )
        );
    }

    #[test]
    fn lines_beyond_the_bound_are_counted() {
        let flood = b"x\n".repeat(MAX_LINES + 7);
        for size in [1, 3, 4096, flood.len()] {
            let pieces: Vec<_> = flood.chunks(size).collect();
            let (kept, dropped) = lines(&pieces);
            assert_eq!((kept.len(), dropped), (MAX_LINES, 7), "in pieces of {size}");
        }
        assert_eq!(lines(&[&flood, b"rest"]).1, 8);
    }

    #[test]
    fn a_line_that_reaches_the_bound_is_kept_as_far_as_it_fits() {
        let long = vec![b'x'; MAX_BYTES + 10];
        for size in [1, 4096, long.len()] {
            let mut pieces: Vec<&[u8]> = long.chunks(size).collect();
            pieces.extend([&b"\n"[..], b"second\n"]);
            let (kept, dropped) = lines(&pieces);
            assert_eq!(
                (kept.len(), kept[0].len(), dropped),
                (1, MAX_BYTES, 2),
                "in pieces of {size}"
            );
        }
        let exact = vec![b'x'; MAX_BYTES];
        assert_eq!(lines(&[&exact, b"\n"]).1, 0);
    }
}
