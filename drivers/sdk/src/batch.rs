//! Many events in pieces of a bounded size, in order.

use dispatch_contract::Event;

/// The most events of one POST.
const MAX_BATCH_EVENTS: usize = 256;
/// About the most bytes of one POST.
const MAX_BATCH_BYTES: usize = 512 * 1024;

/// Events in pieces with the position of their first, the first piece last.
pub(crate) fn batches(events: &[Event]) -> Vec<(usize, &[Event])> {
    let mut pieces = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (position, event) in events.iter().enumerate() {
        let size = event.encoded().len();
        let full = position - start >= MAX_BATCH_EVENTS || bytes + size > MAX_BATCH_BYTES;
        if full && position > start {
            pieces.push((start, &events[start..position]));
            (start, bytes) = (position, 0);
        }
        bytes += size;
    }
    if start < events.len() {
        pieces.push((start, &events[start..]));
    }
    pieces.reverse();
    pieces
}

pub(crate) fn halve<'a>(waiting: &mut Vec<(usize, &'a [Event])>, position: usize, batch: &'a [Event]) {
    let (first, second) = batch.split_at(batch.len() / 2);
    waiting.push((position + first.len(), second));
    waiting.push((position, first));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_order_and_stay_bounded() {
        let event = |n: usize| {
            let data = format!("\"{}\"", "x".repeat(n % 3 * 100_000));
            Event::builder(n.to_string(), "/s", "t")
                .json(data)
                .build()
                .unwrap()
        };
        let events: Vec<Event> = (0..700).map(event).collect();

        let mut pieces = batches(&events);
        pieces.reverse();

        let mut next = 0;
        for (position, piece) in pieces {
            assert_eq!(position, next);
            assert!(piece.len() <= MAX_BATCH_EVENTS);
            assert!(piece.iter().map(|e| e.encoded().len()).sum::<usize>() <= MAX_BATCH_BYTES);
            next += piece.len();
        }
        assert_eq!(next, events.len());
        assert!(batches(&[]).is_empty());
    }
}
