//! The terminal: the one place that prints.
//!
//! Results go to standard output, notes and errors to standard error, so that a pipe carries results only.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Prints one result, with a line end.
pub(crate) fn line(text: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Prints a result that ends its own lines.
pub(crate) fn text(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// For results of many lines: whoever writes them flushes at the end.
pub(crate) fn many() -> impl Write {
    io::BufWriter::new(io::stdout())
}

/// Prints something beside the result. Nobody listening to it is no failure of the command.
pub(crate) fn note(text: impl Display) {
    let mut err = io::stderr().lock();
    writeln!(err, "{text}").unwrap_or_default();
}

/// Whether the reader of the output went away, as `head` does: not worth a word.
pub(crate) fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

/// The text without the characters that would steer a terminal. Line ends stay.
pub(crate) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}
