//! Which segments may go: whole ones, oldest first, that nobody needs and that are too old or too many.

use std::time::Duration;

use dispatch_contract::Sequence;

/// A sealed segment, as retention looks at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sealed {
    /// Its last record.
    pub(crate) last: Sequence,
    /// When the next segment was begun, Unix milliseconds: nothing in this one is newer.
    pub(crate) sealed_at: i64,
    pub(crate) bytes: u64,
}

/// How long and how much.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) age: Option<Duration>,
    pub(crate) bytes: Option<u64>,
}

/// How many of the oldest segments may be removed. `total` counts all segments, `floor` is the last sequence that
/// nobody needs.
pub(crate) fn removable(sealed: &[Sealed], total: u64, policy: Policy, floor: Sequence, now: i64) -> usize {
    let mut left = total;
    sealed
        .iter()
        .take_while(|segment| {
            let age = u128::from(now.saturating_sub(segment.sealed_at).max(0).cast_unsigned());
            let old = policy.age.is_some_and(|most| age >= most.as_millis());
            let large = policy.bytes.is_some_and(|most| left > most);
            left = left.saturating_sub(segment.bytes);
            segment.last <= floor && (old || large)
        })
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGMENTS: [Sealed; 3] = [
        Sealed {
            last: 10,
            sealed_at: 1_000,
            bytes: 100,
        },
        Sealed {
            last: 20,
            sealed_at: 2_000,
            bytes: 100,
        },
        Sealed {
            last: 30,
            sealed_at: 3_000,
            bytes: 100,
        },
    ];

    fn policy(age: Option<u64>, bytes: Option<u64>) -> Policy {
        Policy {
            age: age.map(Duration::from_millis),
            bytes,
        }
    }

    #[test]
    fn segments_go_by_age_and_by_size_but_never_past_the_floor() {
        let table = [
            // age, bytes, floor, now, removed
            (None, None, 99, 9_000, 0),
            (Some(1_000), None, 99, 3_000, 2),
            (Some(1_000), None, 15, 3_000, 1),
            (None, Some(250), 99, 0, 1),
            (None, Some(249), 99, 0, 2),
            (None, Some(0), 99, 0, 3),
            (None, Some(0), 0, 0, 0),
            (None, Some(400), 99, 0, 0),
            (Some(1), None, 99, i64::MIN, 0),
        ];
        for (age, bytes, floor, now, removed) in table {
            let found = removable(&SEGMENTS, 350, policy(age, bytes), floor, now);
            assert_eq!(found, removed, "{age:?} {bytes:?} floor {floor} now {now}");
        }
    }
}
