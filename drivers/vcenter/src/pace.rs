//! How many events to ask for at once: few as a rule, many when there are many, one when answers cannot be read.

use crate::feed::MAX_PAGE;

const USUAL: u32 = 200;
/// Answers longer than this make the next page smaller.
const LARGE_ANSWER: usize = 8 * 1024 * 1024;

/// The size of the next page.
#[derive(Debug)]
pub(crate) struct Pace {
    page: u32,
    careful: bool,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            page: USUAL,
            careful: false,
        }
    }
}

impl Pace {
    /// The most events to ask for.
    pub(crate) fn page(&self) -> u32 {
        if self.careful { 1 } else { self.page }
    }
    /// Whether every event comes alone, so that one that cannot be read is one.
    pub(crate) fn is_careful(&self) -> bool {
        self.careful
    }
    /// An answer could not be read.
    pub(crate) fn go_carefully(&mut self) {
        self.careful = true;
    }
    /// What comes next stands behind much that cannot be seen.
    pub(crate) fn go_widely(&mut self) {
        self.page = MAX_PAGE;
    }
    /// An answer came. An empty one means that everything was read, whatever was wrong before.
    pub(crate) fn note(&mut self, events: usize, bytes: usize) {
        if events == 0 {
            *self = Self::default();
        } else if bytes > LARGE_ANSWER {
            self.page = (self.page / 2).max(1);
        } else if events >= self.page as usize && !self.careful {
            self.page = MAX_PAGE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_grow_in_a_storm_and_shrink_when_events_are_large() {
        let mut pace = Pace::default();
        assert_eq!(pace.page(), 200);
        pace.note(200, 150_000);
        assert_eq!(pace.page(), 1000);
        pace.note(1000, LARGE_ANSWER + 1);
        assert_eq!(pace.page(), 500);
        pace.note(0, 400);
        assert_eq!(pace.page(), 200);
    }

    #[test]
    fn after_an_unreadable_answer_events_come_one_by_one_until_all_are_read() {
        let mut pace = Pace::default();
        pace.go_carefully();
        pace.note(1, 700);
        assert_eq!((pace.page(), pace.is_careful()), (1, true));
        pace.note(0, 400);
        assert_eq!((pace.page(), pace.is_careful()), (200, false));
    }
}
