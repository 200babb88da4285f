//! A frame between engine and worker: a 32-bit big-endian length, then that many bytes of JSON.

/// Bytes of the length.
pub(super) const HEAD: usize = 4;

/// A frame ready to be sent: the length is filled in by [`Frame::finish`].
pub(crate) struct Frame(Vec<u8>);

impl Frame {
    /// An empty frame with room for `size` bytes.
    pub(crate) fn with_capacity(size: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEAD + size);
        bytes.extend_from_slice(&[0; HEAD]);
        Self(bytes)
    }

    /// The body, to append to.
    pub(crate) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Fills in the length; `None` when the body is longer than `max`.
    pub(crate) fn finish(mut self, max: usize) -> Option<Vec<u8>> {
        let length = self.0.len() - HEAD;
        let head = u32::try_from(length).ok().filter(|_| length <= max)?;
        self.0[..HEAD].copy_from_slice(&head.to_be_bytes());
        Some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_beyond_the_bound_becomes_no_frame() {
        let mut frame = Frame::with_capacity(0);
        frame.body().extend_from_slice(b"abc");
        assert!(frame.finish(2).is_none());
    }
}
