//! How the process' file descriptors are shared out: the journal's first, then connections and deliveries.
//!
//! A hub raises its soft limit as far as its configuration needs. Where the hard limit is lower it takes fewer
//! connections and makes fewer deliveries at once, so that it never lacks a descriptor for its own files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What journal, store, drivers and functions keep at least.
const OWN: usize = 32;
/// What they keep of a limit that is large enough.
const OWN_AMPLE: usize = 512;

/// How many of each there may be at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// Connections of others to the hub.
    pub(crate) connections: usize,
    /// Deliveries under way.
    pub(crate) deliveries: usize,
}

/// Shares out what the process may open.
pub(crate) fn share(wanted: Share) -> Share {
    let needed = wanted.connections + wanted.deliveries + OWN_AMPLE;
    let share = divide(raised(needed), wanted);
    if share != wanted {
        let Share {
            connections,
            deliveries,
        } = share;
        tracing::warn!(
            connections,
            deliveries,
            needed,
            "the limit of open files is lower than the configuration needs: fewer connections and deliveries at once"
        );
    }
    share
}

/// Raises the soft limit to what is needed, as far as it goes; says what it is then.
fn raised(needed: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let number = |limit: Option<u64>| limit.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let (soft, hard) = (number(limit.current), number(limit.maximum));
    if soft >= needed {
        return soft;
    }
    let wanted = needed.min(hard);
    let raised = Rlimit {
        current: Some(wanted as u64),
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files cannot be raised");
            soft
        }
    }
}

fn divide(limit: usize, wanted: Share) -> Share {
    let own = (limit / 4).clamp(OWN, OWN_AMPLE);
    let rest = limit.saturating_sub(own);
    if rest >= wanted.connections + wanted.deliveries {
        return wanted;
    }
    let connections = wanted.connections.min((rest * 2 / 3).max(4));
    Share {
        connections,
        deliveries: wanted.deliveries.min(rest.saturating_sub(connections).max(4)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_is_divided_and_leaves_the_hub_its_own() {
        let wanted = Share {
            connections: 4096,
            deliveries: 4096,
        };
        let table = [
            (64, 21, 11),
            (1024, 512, 256),
            (usize::MAX, 4096, 4096),
            (8, 4, 4),
        ];

        for (limit, connections, deliveries) in table {
            let expected = Share {
                connections,
                deliveries,
            };
            assert_eq!(divide(limit, wanted), expected, "{limit}");
        }
    }
}
