//! The chain: in a chained segment every frame carries the hash of the frame before it, across segments.
//!
//! A checksum tells damage, not intent: whoever alters a record can make its checksum again. They cannot make the next
//! frame carry the right hash without altering that, and so on to the end; and the hash at the end is one number that
//! can be kept elsewhere. Switched on, it costs one SHA-256 over what is written and 32 bytes for each group.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Size of a hash.
pub(crate) const LINK: usize = 32;

/// The hash of a frame: of its head from the length on, and of its body.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Link([u8; LINK]);

impl Link {
    /// What the first frame of a chain carries.
    pub(crate) const START: Self = Self([0; LINK]);

    pub(crate) fn of(head: &[u8], body: &[u8]) -> Self {
        Self(
            Sha256::new()
                .chain_update(head)
                .chain_update(body)
                .finalize()
                .into(),
        )
    }

    pub(crate) fn bytes(&self) -> &[u8; LINK] {
        &self.0
    }

    /// The link at the beginning of a chained frame's body, and the records behind it.
    pub(crate) fn split(body: &[u8]) -> Option<(Self, &[u8])> {
        let (link, records) = body.split_first_chunk()?;
        Some((Self(*link), records))
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Not 64 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("a hash is 64 hexadecimal digits")]
pub struct LinkError;

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let mut link = [0; LINK];
        if text.len() != 2 * LINK || !text.is_ascii() {
            return Err(LinkError);
        }
        for (n, byte) in link.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * n..2 * n + 2], 16).map_err(|_| LinkError)?;
        }
        Ok(Self(link))
    }
}

/// What the next frame of a segment is stamped with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    /// From where its checksums start.
    pub(crate) seed: u32,
    /// In a chained segment: the hash of the frame before.
    pub(crate) link: Option<Link>,
}

impl Stamp {
    /// What it adds to a frame's body.
    pub(crate) fn overhead(&self) -> usize {
        if self.link.is_some() { LINK } else { 0 }
    }
}
