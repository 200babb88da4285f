//! What differs between two configurations, and what of it needs a restart.
//!
//! Found by comparing all that is said, key by key, so a new setting needs a restart until it is listed here.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ServerConfig;

/// Settings that change while the hub runs, and all that is below them.
const LIVE: [&str; 11] = [
    "limits.api-body-bytes",
    "limits.api-timeout",
    "limits.batch-bytes",
    "limits.batch-events",
    "limits.connections",
    "limits.drain",
    "limits.event-bytes",
    "limits.inflight-bytes",
    "limits.notice",
    "log",
    "quotas",
];

/// Keys that differ, as they are written in the file: `limits.drain`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// Those that can change at once.
    pub(crate) live: Vec<String>,
    /// Those that cannot.
    pub(crate) restart: Vec<String>,
}

impl Change {
    /// What changes from one to the other.
    pub(crate) fn between(old: &ServerConfig, new: &ServerConfig) -> Self {
        let mut keys = Vec::new();
        differing("", &tree(old), &tree(new), &mut keys);
        let (live, restart) = keys.into_iter().partition(|key| !needs_restart(key));
        Self { live, restart }
    }
}

/// Whether a setting is read only when the hub starts.
fn needs_restart(key: &str) -> bool {
    let within = |live: &&str| {
        key.strip_prefix(*live)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    !LIVE.iter().any(within)
}

fn tree(config: &ServerConfig) -> Value {
    serde_json::to_value(config).unwrap_or_default()
}

fn differing(key: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for name in names {
                let key = match key {
                    "" => name.clone(),
                    _ => format!("{key}.{name}"),
                };
                let (old, new) = (old.get(name), new.get(name));
                differing(
                    &key,
                    old.unwrap_or(&Value::Null),
                    new.unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        _ if old != new => found.push(key.to_owned()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Limits;
    use super::*;

    #[test]
    fn what_changes_is_named_and_told_apart_by_what_it_needs() {
        let old = ServerConfig::default();
        let new = ServerConfig {
            data: "elsewhere".into(),
            log: Some("debug".to_owned()),
            limits: Limits {
                drain: Duration::from_millis(1500),
                lane_events: 7,
                ..old.limits.clone()
            },
            ..old.clone()
        };

        let change = Change::between(&old, &new);

        assert_eq!(change.live, ["limits.drain", "log"]);
        assert_eq!(change.restart, ["data", "limits.lane-events"]);
        assert_eq!(Change::between(&new, &new), Change::default());
    }

    #[test]
    fn a_quota_of_an_organization_that_comes_changes_or_goes_is_named() {
        let with = |quotas: &str| ServerConfig {
            quotas: serde_norway::from_str(quotas).unwrap(),
            ..ServerConfig::default()
        };
        let old = with("organizations: {goes: {in-flight: 1}, stays: {in-flight: 1}, other: {in-flight: 1}}");
        let new = with(
            "{default: {in-flight: 9}, organizations: {comes: {in-flight: 1}, stays: {in-flight: 1}, other: {in-flight: 2}}}",
        );

        let change = Change::between(&old, &new);

        let organization = |name| format!("quotas.organizations.{name}");
        let expected = [
            "quotas.default.in-flight".to_owned(),
            organization("comes"),
            organization("goes"),
            organization("other.in-flight"),
        ];
        assert_eq!((change.live, change.restart), (expected.to_vec(), vec![]));
    }

    #[test]
    fn every_live_setting_is_a_setting() {
        let tree = tree(&ServerConfig::default());
        for key in LIVE {
            let pointer = format!("/{}", key.replace('.', "/"));
            assert!(tree.pointer(&pointer).is_some(), "{key}");
        }
    }
}
