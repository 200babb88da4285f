//! The kinds of resources: their words, their place in the REST interface, and how they read in a table.
//!
//! Resources stay JSON values here: the hub says what they are, this tool passes them on. A new kind is one
//! more [`Kind`].

use serde_json::Value;

use crate::shape::{self, Shape};
use crate::table::Table;
use crate::time::unix_date;

/// A kind of resource.
pub(crate) struct Kind {
    /// The word in YAML files and messages.
    pub(crate) word: &'static str,
    /// Other words for it in YAML files.
    pub(crate) also: &'static [&'static str],
    /// Its collection.
    pub(crate) path: &'static str,
    /// `Created base image`.
    pub(crate) created: &'static str,
    /// `Deleted base image`.
    pub(crate) deleted: &'static str,
    /// Whether a file may leave out the name.
    pub(crate) names_itself: bool,
    /// The keys of a file, for those who write them otherwise.
    pub(crate) shape: &'static Shape,
    header: &'static [&'static str],
    row: fn(&Value) -> Vec<String>,
}

/// Every kind, in the order in which they can refer to each other.
pub(crate) static KINDS: [&Kind; 9] = [
    &APPLICATION,
    &BASE_IMAGE,
    &IMAGE,
    &SECRET,
    &FUNCTION,
    &API,
    &DRIVER_TYPE,
    &DRIVER,
    &SUBSCRIPTION,
];

/// A label over others.
pub(crate) static APPLICATION: Kind = Kind {
    word: "Application",
    also: &[],
    path: "/v1/application",
    created: "Created application",
    deleted: "Deleted application",
    names_itself: false,
    shape: &shape::APPLICATION,
    header: &["NAME", "STATUS", "CREATED DATE"],
    row: |v| vec![text(v, "name"), text(v, "status"), date(v, "createdTime")],
};

/// Where images begin.
pub(crate) static BASE_IMAGE: Kind = Kind {
    word: "BaseImage",
    also: &[],
    path: "/v1/baseimage",
    created: "Created base image",
    deleted: "Deleted base image",
    names_itself: false,
    shape: &shape::BASE_IMAGE,
    header: &["NAME", "URL", "STATUS", "CREATED DATE"],
    row: |v| {
        vec![
            text(v, "name"),
            text(v, "dockerUrl"),
            text(v, "status"),
            date(v, "createdTime"),
        ]
    },
};

/// A runtime with its dependencies.
pub(crate) static IMAGE: Kind = Kind {
    word: "Image",
    also: &[],
    path: "/v1/image",
    created: "Created image",
    deleted: "Deleted image",
    names_itself: false,
    shape: &shape::IMAGE,
    header: &["NAME", "URL", "BASEIMAGE", "STATUS", "CREATED DATE"],
    row: |v| {
        vec![
            text(v, "name"),
            text(v, "dockerUrl"),
            text(v, "baseImageName"),
            text(v, "status"),
            date(v, "createdTime"),
        ]
    },
};

/// A function.
pub(crate) static FUNCTION: Kind = Kind {
    word: "Function",
    also: &[],
    path: "/v1/function",
    created: "Created function",
    deleted: "Deleted function",
    names_itself: false,
    shape: &shape::FUNCTION,
    header: &["NAME", "FUNCTIONIMAGE", "STATUS", "CREATED DATE"],
    row: |v| {
        vec![
            text(v, "name"),
            first_of(v, &["functionImageURL", "image"]),
            text(v, "status"),
            date(v, "createdTime"),
        ]
    },
};

/// An API.
pub(crate) static API: Kind = Kind {
    word: "API",
    also: &[],
    path: "/v1/api",
    created: "Created api",
    deleted: "Deleted api",
    names_itself: false,
    shape: &shape::API,
    header: &[
        "NAME", "FUNCTION", "PROTOCOL", "METHOD", "DOMAIN", "PATH", "AUTH", "STATUS", "ENABLED",
    ],
    row: |v| {
        vec![
            text(v, "name"),
            text(v, "function"),
            text(v, "protocols"),
            text(v, "methods"),
            text(v, "hosts"),
            first_of(v, &["urls", "uris"]),
            text(v, "authentication"),
            text(v, "status"),
            text(v, "enabled"),
        ]
    },
};

/// A secret.
pub(crate) static SECRET: Kind = Kind {
    word: "Secret",
    also: &[],
    path: "/v1/secret",
    created: "Created secret",
    deleted: "Deleted secret",
    names_itself: false,
    shape: &shape::SECRET,
    header: &["ID", "NAME", "CONTENT"],
    row: |v| vec![text(v, "id"), text(v, "name"), "<hidden>".to_owned()],
};

/// A kind of driver.
pub(crate) static DRIVER_TYPE: Kind = Kind {
    word: "DriverType",
    also: &["EventDriverType"],
    path: "/v1/event/drivertypes",
    created: "Created event driver type",
    deleted: "Deleted driver types",
    names_itself: false,
    shape: &shape::DRIVER_TYPE,
    header: &["NAME", "IMAGE", "EXPOSE"],
    row: |v| {
        vec![
            text(v, "name"),
            text(v, "image"),
            v["expose"].as_bool().unwrap_or_default().to_string(),
        ]
    },
};

/// A driver.
pub(crate) static DRIVER: Kind = Kind {
    word: "Driver",
    also: &["EventDriver"],
    path: "/v1/event/drivers",
    created: "Created event driver",
    deleted: "Deleted drivers",
    names_itself: true,
    shape: &shape::DRIVER,
    header: &["NAME", "TYPE", "STATUS", "SECRETS", "CONFIG", "URL", "REASON"],
    row: |v| {
        vec![
            text(v, "name"),
            text(v, "type"),
            text(v, "status"),
            text(v, "secrets"),
            config(v),
            text(v, "url"),
            text(v, "reason"),
        ]
    },
};

/// Drivers with how their processes fare.
pub(crate) fn driver_details(found: &Value) -> String {
    let more = ["RESTARTS", "LAST EVENT", "LAG", "CHECKPOINT", "LAST LINES"];
    let mut table = Table::new(&[DRIVER.header, &more].concat());
    for value in items(found) {
        let fared = &value["supervision"];
        let age = |field| match fared[field].as_u64() {
            Some(seconds) => format!("{seconds}s"),
            None => String::new(),
        };
        let mut row = (DRIVER.row)(value);
        row.extend([
            text(fared, "restarts"),
            age("lastEventAge"),
            age("lag"),
            age("checkpointAge"),
            text(fared, "lines"),
        ]);
        table.push(row);
    }
    table.render()
}

/// A subscription.
pub(crate) static SUBSCRIPTION: Kind = Kind {
    word: "Subscription",
    also: &[],
    path: "/v1/event/subscriptions",
    created: "created subscription",
    deleted: "Deleted subscription",
    names_itself: true,
    shape: &shape::SUBSCRIPTION,
    header: &["NAME", "EVENT TYPE", "FUNCTION NAME", "STATUS", "CREATED DATE"],
    row: |v| {
        vec![
            text(v, "name"),
            chosen(v),
            receiver(v),
            text(v, "status"),
            date(v, "createdTime"),
        ]
    },
};

impl Kind {
    /// The kind with this word, whatever its case.
    pub(crate) fn by_word(word: &str) -> Option<&'static Kind> {
        KINDS.into_iter().find(|kind| {
            std::iter::once(&kind.word)
                .chain(kind.also)
                .any(|known| known.eq_ignore_ascii_case(word))
        })
    }

    /// A table of these resources: a list or one.
    pub(crate) fn table(&self, found: &Value) -> String {
        let mut table = Table::new(self.header);
        for value in items(found) {
            table.push((self.row)(value));
        }
        table.render()
    }
}

/// The items of a list, nothing of `null`, or the one value there is.
pub(crate) fn items(found: &Value) -> &[Value] {
    match found {
        Value::Array(items) => items,
        Value::Null => &[],
        one => std::slice::from_ref(one),
    }
}

/// The field as a cell: a list has a line for each item.
pub(crate) fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let lines: Vec<_> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            lines.join("\n")
        }
        Some(other) => other.to_string(),
    }
}

fn first_of(value: &Value, fields: &[&str]) -> String {
    let found = fields.iter().map(|field| text(value, field));
    found
        .into_iter()
        .find(|text| !text.is_empty())
        .unwrap_or_default()
}

fn date(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_i64)
        .map_or_else(String::new, unix_date)
}

fn config(value: &Value) -> String {
    let items = value.get("config").map(items).unwrap_or_default();
    let lines: Vec<_> = items
        .iter()
        .map(|item| match text(item, "value") {
            empty if empty.is_empty() => text(item, "key"),
            value => format!("{}={value}", text(item, "key")),
        })
        .collect();
    lines.join("\n")
}

/// What a subscription chooses: its event type, or its filters in short.
fn chosen(value: &Value) -> String {
    let mut lines = Vec::from_iter(Some(text(value, "eventType")).filter(|t| !t.is_empty()));
    for filter in value.get("filters").map(items).unwrap_or_default() {
        let line = match exact_type(filter) {
            Some(ty) => ty.to_owned(),
            None => filter_in_short(filter),
        };
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

fn exact_type(filter: &Value) -> Option<&str> {
    let filter = filter.as_object().filter(|f| f.len() == 1)?;
    let exact = filter.get("exact")?.as_object().filter(|e| e.len() == 1)?;
    exact.get("type")?.as_str()
}

fn filter_in_short(filter: &Value) -> String {
    let Some((dialect, attributes)) = filter.as_object().and_then(|f| f.iter().next()) else {
        return filter.to_string();
    };
    match attributes.as_object() {
        Some(attributes) if attributes.values().all(Value::is_string) => {
            let pairs: Vec<_> = attributes
                .iter()
                .map(|(name, value)| format!("{dialect}:{name}={}", value.as_str().unwrap_or_default()))
                .collect();
            pairs.join("\n")
        }
        _ => filter.to_string(),
    }
}

/// Who gets the events: a function, or the sink's URL.
fn receiver(value: &Value) -> String {
    match text(value, "function") {
        empty if empty.is_empty() => value
            .get("sink")
            .map(|sink| text(sink, "uri"))
            .unwrap_or_default(),
        function => function,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_kind_is_found_by_its_words_whatever_their_case() {
        for (word, expected) in [
            ("baseimage", "BaseImage"),
            ("EventDriver", "Driver"),
            ("drivertype", "DriverType"),
        ] {
            assert_eq!(Kind::by_word(word).map(|k| k.word), Some(expected));
        }
        assert!(Kind::by_word("Policy").is_none());
    }

    #[test]
    fn a_driver_shows_its_settings_one_a_line() {
        let driver = json!({"name": "tick", "type": "cron", "status": "READY", "secrets": [],
            "config": [{"key": "cron", "value": "0/10 * * * *"}, {"key": "debug"}], "reason": null});

        let expected = [
            "  NAME | TYPE | STATUS | SECRETS |      CONFIG       | URL | REASON",
            "  tick | cron | READY  |         | cron=0/10 * * * * |     |",
            "       |      |        |         | debug             |     |",
        ];
        assert_eq!(DRIVER.table(&driver).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_driver_asked_for_alone_shows_how_its_process_fares() {
        let driver = json!({"name": "tick", "type": "cron", "status": "PAUSED", "secrets": [], "config": [],
            "supervision": {"restarts": 2, "lastEventAge": 61, "lag": 0, "lines": ["a", "b"]}});

        let expected = [
            "  NAME | TYPE | STATUS | SECRETS | CONFIG | URL | REASON | RESTARTS | LAST EVENT | LAG | CHECKPOINT | LAST LINES",
            "  tick | cron | PAUSED |         |        |     |        |        2 | 61s        | 0s  |            | a",
            "       |      |        |         |        |     |        |          |            |     |            | b",
        ];
        assert_eq!(driver_details(&driver).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_subscription_shows_what_it_chooses_and_who_gets_it() {
        let list = json!([
            {"name": "a", "eventType": "cron.trigger", "function": "hello", "status": "READY"},
            {"name": "b", "filters": [{"exact": {"type": "x"}}, {"prefix": {"source": "/a"}}, {"not": {"exact": {"id": "1"}}}],
             "sink": {"uri": "http://sink", "mode": "binary"}, "status": "READY"},
        ]);

        let expected = [
            "  NAME |          EVENT TYPE          | FUNCTION NAME | STATUS | CREATED DATE",
            "  a    | cron.trigger                 | hello         | READY  |",
            "  b    | x                            | http://sink   | READY  |",
            "       | prefix:source=/a             |               |        |",
            "       | {\"not\":{\"exact\":{\"id\":\"1\"}}} |               |        |",
        ];
        assert_eq!(SUBSCRIPTION.table(&list).lines().collect::<Vec<_>>(), expected);
    }
}
