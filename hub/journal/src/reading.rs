//! Reads pages of records from the segment files, off the async threads.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use dispatch_contract::{Page, ReadError, Sequence};

use crate::damage::{Damage, DamageKind};
use crate::index::Index;
use crate::record::decode_group;
use crate::scan::Scanner;
use crate::segment::Segment;
use crate::view::{Bookmark, View};
use crate::walk::{Item, Way, walk};

/// A read that fails is tried again this often before unreadable sectors count as damage.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(20);

/// A page from `from` on. Empty, with `next` as asked, only at the end of the log.
pub(crate) async fn read_page(view: &Arc<View>, from: Sequence, max_bytes: usize) -> Result<Page, ReadError> {
    let failed = |reason| ReadError { at: from, reason };
    let mut tries = 0;
    loop {
        let tolerant = tries >= TRIES;
        let read = if view.inline {
            look(view, from, max_bytes, tolerant)
        } else {
            let view = view.clone();
            let read = tokio::task::spawn_blocking(move || look(&view, from, max_bytes, tolerant));
            read.await
                .map_err(|e| failed(format!("the read ended in the middle: {e}")))?
        };
        match read {
            Ok(page) => return Ok(page),
            Err(error) if tolerant => return Err(failed(error)),
            Err(_) => {
                tries += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// One try. With `tolerant`, sectors that cannot be read are damage.
fn look(view: &View, from: Sequence, max_bytes: usize, tolerant: bool) -> Result<Page, String> {
    let mut from = from.max(1);
    loop {
        let head = view.head();
        let Some((segment, until)) = view.segment_of(from) else {
            return Ok(Page {
                entries: Vec::new(),
                next: from.max(head + 1),
            });
        };
        from = from.max(segment.header.first);
        if from > head {
            return Ok(Page {
                entries: Vec::new(),
                next: from,
            });
        }
        // Segments are added before their records are published, so up to `head` this one is complete.
        let part = Part {
            segment: &segment,
            until: until.unwrap_or(head + 1),
            sealed: until.is_some(),
        };
        match read_segment(view, part, from, max_bytes, tolerant) {
            Ok(page) if page.entries.is_empty() && page.next <= head && page.next > from => from = page.next,
            Ok(page) => return Ok(page),
            // Retention took the file away meanwhile: go on at what is left.
            Err(e) if e.kind() == io::ErrorKind::NotFound && view.first() > segment.header.first => {}
            Err(e) => return Err(format!("{}: {e}", segment.path.display())),
        }
    }
}

/// What to read of a segment: records before `until`.
struct Part<'a> {
    segment: &'a Segment,
    until: Sequence,
    sealed: bool,
}

fn read_segment(
    view: &View,
    part: Part<'_>,
    from: Sequence,
    max_bytes: usize,
    tolerant: bool,
) -> io::Result<Page> {
    let Part {
        segment,
        until,
        sealed,
    } = part;
    let start = view.bookmark(from, segment.header.first).unwrap_or_else(|| {
        let load = || {
            Index::load(&*view.disk, &segment.index_path(), &segment.header)
                .map(|index| index.map(|i| i.places).unwrap_or_default())
        };
        let place = segment.seek(from, load);
        Bookmark {
            segment: segment.header.first,
            offset: place.offset,
            expected: place.sequence,
        }
    });
    let file = view.disk.open(&segment.path, false)?;
    let seed = segment.header.checksum_seed();
    let mut scanner = Scanner::new(&*file, seed, start.offset, segment.end()).tolerant(tolerant);
    let way = Way {
        chained: segment.header.chained,
        path: &segment.path,
        from: start.offset,
        expected: start.expected,
        until: Some(until),
    };
    let mut page = Page {
        entries: Vec::new(),
        next: from,
    };
    let mut bytes = 0;
    let mut stopped: Option<Bookmark> = None;
    let walked = walk(&mut scanner, way, &mut |item| {
        let frame = match item {
            Item::Damage(damage) => {
                view.report(&damage);
                if let Some(missing) = damage.missing {
                    page.next = page.next.max(missing.end() + 1);
                }
                return ControlFlow::Continue(());
            }
            Item::Frame(frame) => frame,
        };
        let here = Bookmark {
            segment: segment.header.first,
            offset: frame.at,
            expected: frame.head.first,
        };
        if bytes >= max_bytes && !page.entries.is_empty() {
            stopped = Some(here);
            return ControlFlow::Break(());
        }
        if frame.head.count == 0 || frame.head.next() <= from {
            return ControlFlow::Continue(());
        }
        if frame.head.is_filler() {
            page.next = frame.head.next();
            return ControlFlow::Continue(());
        }
        let Some(entries) = decode_group(&frame.head, frame.body) else {
            view.report(&undecodable(segment, frame.at, &frame.head));
            page.next = frame.head.next();
            return ControlFlow::Continue(());
        };
        for (entry, size) in entries {
            if entry.sequence < from {
                continue;
            }
            if bytes >= max_bytes && !page.entries.is_empty() {
                stopped = Some(here);
                return ControlFlow::Break(());
            }
            bytes += size;
            page.next = entry.sequence + 1;
            page.entries.push(entry);
        }
        ControlFlow::Continue(())
    })?;
    if let Some(bookmark) = stopped {
        view.set_bookmark(page.next, bookmark);
        return Ok(page);
    }
    page.next = page.next.max(until);
    if !sealed {
        let end = Bookmark {
            segment: segment.header.first,
            offset: walked.end,
            expected: walked.next,
        };
        view.set_bookmark(page.next, end);
    }
    Ok(page)
}

/// The checksum is right and the records are not: written wrongly, or by something else.
pub(crate) fn undecodable(segment: &Segment, at: u64, head: &crate::frame::FrameHead) -> Damage {
    Damage {
        segment: segment.path.clone(),
        offset: at,
        bytes: head.framed(),
        missing: (head.count > 0).then(|| head.first..=head.next() - 1),
        kind: DamageKind::Acknowledged,
    }
}
