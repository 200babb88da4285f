//! Where a program's standard output and standard error go: the one is its answer and kept whole, the other is log
//! and passed on, but for its last lines, which explain a failure.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

/// Bytes a program may write at once.
const PERMIT: usize = 1024 * 1024;
/// Bytes kept of the end of a log.
const TAIL: usize = 8 * 1024;
/// Lines taken of it.
const LINES: usize = 20;

/// What takes a program's bytes.
pub(crate) trait Take: Send + 'static {
    /// `Err` ends the program.
    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str>;
}

/// One output of a program, for as many streams as it opens on it.
pub(crate) struct Output<T>(Arc<Mutex<T>>);

impl<T: Take> Output<T> {
    pub(crate) fn new(to: T) -> Self {
        Self(Arc::new(Mutex::new(to)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Output<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// The answer, as far as it is not too long.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: Vec<u8>,
    max: usize,
    pub(crate) too_long: bool,
}

impl Said {
    pub(crate) fn up_to(max: usize) -> Self {
        Self {
            text: Vec::new(),
            max,
            too_long: false,
        }
    }
}

impl Take for Said {
    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        if bytes.len() > self.max - self.text.len() {
            self.too_long = true;
            return Err("the answer is too long");
        }
        self.text.extend_from_slice(bytes);
        Ok(())
    }
}

/// The log: passed on to this process' own standard error, which the engine reads.
#[derive(Debug, Default)]
pub(crate) struct Log {
    tail: VecDeque<u8>,
}

impl Log {
    fn keep(&mut self, bytes: &[u8]) {
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL)..]);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }

    /// Its last lines.
    pub(crate) fn last_lines(&mut self) -> Vec<String> {
        let text = String::from_utf8_lossy(self.tail.make_contiguous());
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[lines.len().saturating_sub(LINES)..].to_vec()
    }
}

impl Take for Log {
    fn take(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        self.keep(bytes);
        io::stderr()
            .write_all(bytes)
            .map_err(|_| "standard error is closed")
    }
}

impl<T: Take> IsTerminal for Output<T> {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl<T: Take> StdoutStream for Output<T> {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl<T: Take> OutputStream for Output<T> {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.lock().take(&bytes).map_err(StreamError::trap)
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(PERMIT)
    }
}

#[wasmtime_wasi::async_trait]
impl<T: Take> Pollable for Output<T> {
    async fn ready(&mut self) {}
}

impl<T: Take> AsyncWrite for Output<T> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = self.lock().take(bytes).map_err(io::Error::other);
        Poll::Ready(taken.map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_up_to_its_bound() {
        let mut said = Said::up_to(5);
        assert!(said.take(b"abc").is_ok() && said.take(b"de").is_ok());
        assert!(said.take(b"f").is_err() && said.too_long);
        assert_eq!(said.text, b"abcde");
    }

    #[test]
    fn of_a_long_log_the_last_lines_are_kept() {
        let mut log = Log::default();
        for n in 0..10_000 {
            log.keep(format!("line {n}\n").as_bytes());
        }
        log.keep(&vec![b'x'; 2 * TAIL]);
        log.keep(b"\nlast");
        let lines = log.last_lines();
        assert_eq!((lines.len(), lines[1].as_str()), (2, "last"));
    }
}
