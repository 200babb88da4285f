//! The last lines of a tool's output, within a bound.

use tokio::io::{AsyncRead, AsyncReadExt};

const KEPT: usize = 8 * 1024;

/// The end of some output.
#[derive(Debug, Default)]
pub(crate) struct OutputTail(Vec<u8>);

impl OutputTail {
    /// Takes more output.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 2 * KEPT {
            self.0.drain(..self.0.len() - KEPT);
        }
    }

    /// Reads until the other end closes, and passes on what comes.
    pub(crate) async fn read_all(&mut self, mut from: impl AsyncRead + Unpin, pass_on: impl Fn(&[u8])) {
        let mut buffer = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut buffer).await {
            self.feed(&buffer[..n]);
            pass_on(&buffer[..n]);
        }
    }

    /// The last `count` lines that are not empty, joined by line feeds.
    pub(crate) fn lines(&self, count: usize) -> String {
        let text = String::from_utf8_lossy(&self.0);
        let lines: Vec<&str> = text
            .lines()
            .map(str::trim_end)
            .filter(|l| !l.is_empty())
            .collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_stay() {
        let mut tail = OutputTail::default();
        for n in 0..10_000 {
            tail.feed(format!("line {n}\n\n").as_bytes());
        }
        assert_eq!(tail.lines(2), "line 9998\nline 9999");
        assert!(tail.0.len() <= 2 * KEPT);
    }
}
