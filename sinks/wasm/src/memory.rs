//! The memory of one instance: all its memories and tables together, refused with an error and not with a -1 that a
//! program may take for anything.

use wasmtime::ResourceLimiter;

/// Bytes of a table's element, more or less.
const ELEMENT: usize = 16;
/// Instances, memories and tables one program is made of.
const PARTS: usize = 1000;

/// How much memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mebibytes(pub(crate) u64);

impl std::fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

/// A program wants more than it may have.
#[derive(Debug, thiserror::Error)]
#[error("it needs more memory than the {0} it may have")]
pub(crate) struct OutOfMemory(Mebibytes);

/// What an instance has, and what it may have.
#[derive(Debug)]
pub(crate) struct Budget {
    allowed: Mebibytes,
    left: usize,
}

impl Budget {
    pub(crate) fn new(allowed: Mebibytes) -> Self {
        let bytes = allowed.0.saturating_mul(1024 * 1024);
        Self {
            allowed,
            left: usize::try_from(bytes).unwrap_or(usize::MAX),
        }
    }

    fn take(&mut self, bytes: usize) -> Result<(), OutOfMemory> {
        self.left = self.left.checked_sub(bytes).ok_or(OutOfMemory(self.allowed))?;
        Ok(())
    }
}

impl ResourceLimiter for Budget {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // What the module itself forbids never becomes memory.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.take(desired.saturating_sub(current))?;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        self.take(desired.saturating_sub(current).saturating_mul(ELEMENT))?;
        Ok(true)
    }

    fn instances(&self) -> usize {
        PARTS
    }

    fn tables(&self) -> usize {
        PARTS
    }

    fn memories(&self) -> usize {
        PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_are_paid_from_one_budget() {
        let mut budget = Budget::new(Mebibytes(1));
        let page = 64 * 1024;

        assert!(budget.memory_growing(0, 10 * page, None).unwrap());
        assert!(!budget.memory_growing(0, 10 * page, Some(page)).unwrap());
        assert!(budget.table_growing(0, 20_000, None).unwrap());
        let error = budget.memory_growing(10 * page, 13 * page, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it needs more memory than the 1 MiB it may have"
        );
        assert!(error.downcast_ref::<OutOfMemory>().is_some());
    }
}
