//! Where an API is: paths, hosts, origins of scripts.

use crate::Invalid;
use crate::invalid::at_most;

/// Methods an API may name.
pub(super) const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const MAX_URI: usize = 1024;
const MAX_HOST: usize = 253;

/// A part of a path, between two slashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// This text.
    Text(&'a str),
    /// Any text, under this name: `{id}`.
    Parameter(&'a str),
    /// Whatever follows: `*`, the last one.
    Rest,
}

/// The segments of a path that begins with a slash: none of `/`, and an empty last one where it ends with a slash.
pub fn segments(uri: &str) -> Result<Vec<Segment<'_>>, String> {
    let Some(path) = uri.strip_prefix('/') else {
        return Err("must begin with a slash".to_owned());
    };
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let parts: Vec<&str> = path.split('/').collect();
    let last = parts.len() - 1;
    let mut names = Vec::new();
    let mut found = Vec::new();
    for (at, part) in parts.into_iter().enumerate() {
        let inner = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        found.push(match inner {
            _ if part == "*" && at == last => Segment::Rest,
            Some(name) if is_parameter(name) && names.contains(&name) => {
                return Err(format!("has {{{name}}} twice"));
            }
            Some(name) if is_parameter(name) => {
                names.push(name);
                Segment::Parameter(name)
            }
            Some(name) => {
                return Err(format!(
                    "has {{{name}}}: a parameter is letters, digits and underscores, and begins with a letter"
                ));
            }
            None if part.contains(['{', '}', '*']) => {
                return Err(format!(
                    "has {part:?}: a parameter such as {{id}} is a whole segment, and * is the last one"
                ));
            }
            None => Segment::Text(part),
        });
    }
    Ok(found)
}

fn is_parameter(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
}

/// A path; its slash in front may be missing.
pub(super) fn check_uri(field: &str, uri: &str) -> Result<(), Invalid> {
    at_most(field, "characters", uri.len(), MAX_URI)?;
    let bare = uri.trim().trim_start_matches('/');
    let strange = |c: char| !c.is_ascii_graphic() || "?#\\\"<>^`|".contains(c);
    if let Some(c) = bare.chars().find(|c| strange(*c)) {
        return Err(Invalid::new(
            field,
            format!("has {c:?}: a path has letters, digits and %xx, and no query"),
        ));
    }
    if uri.contains("//") {
        return Err(Invalid::new(field, "has an empty segment"));
    }
    if let Some(dots) = bare.split('/').find(|part| matches!(*part, "." | "..")) {
        let problem = format!("has {dots:?}: clients take it out of a path before they send it");
        return Err(Invalid::new(field, problem));
    }
    if let Some(escape) = broken_escape(bare) {
        let problem = format!("has {escape:?}: after % come two hexadecimal digits");
        return Err(Invalid::new(field, problem));
    }
    match segments(&format!("/{bare}")) {
        Ok(_) => Ok(()),
        Err(problem) => Err(Invalid::new(field, problem)),
    }
}

/// The first `%` that begins no `%xx`, with what follows it.
fn broken_escape(path: &str) -> Option<&str> {
    path.match_indices('%').find_map(|(at, _)| {
        let escape = path.get(at..at + 3).unwrap_or(&path[at..]);
        let whole = escape.len() == 3 && escape.bytes().skip(1).all(|b| b.is_ascii_hexdigit());
        (!whole).then_some(escape)
    })
}

/// `api.example.org` or `*.example.org`.
pub(super) fn check_host(field: &str, host: &str) -> Result<(), Invalid> {
    let name = host.trim().strip_prefix("*.").unwrap_or(host.trim());
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let address = name.starts_with('[') && name.ends_with(']') && name.len() > 2;
    match name.len() <= MAX_HOST && (address || name.split('.').all(label)) {
        true => Ok(()),
        false => Err(Invalid::new(
            field,
            format!("is {host:?}; must be a host such as api.example.org or *.example.org, without a port"),
        )),
    }
}

/// `https://shop.example.org`, as browsers send it.
pub(super) fn check_origin(field: &str, origin: &str) -> Result<(), Invalid> {
    let rest = origin
        .strip_prefix("https://")
        .or_else(|| origin.strip_prefix("http://"))
        .map(|rest| rest.trim_end_matches('/'));
    let fine = rest.is_some_and(|rest| {
        (1..=MAX_HOST).contains(&rest.len())
            && rest
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b))
    });
    match fine {
        true => Ok(()),
        false => Err(Invalid::new(
            field,
            format!("is {origin:?}; must be an origin such as https://shop.example.org"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_text_parameters_and_what_follows() {
        use Segment::{Parameter, Rest, Text};
        for (uri, expected) in [
            ("/", vec![]),
            ("/a", vec![Text("a")]),
            ("/a/", vec![Text("a"), Text("")]),
            ("/users/{id}/x", vec![Text("users"), Parameter("id"), Text("x")]),
            ("/files/*", vec![Text("files"), Rest]),
            ("/*", vec![Rest]),
        ] {
            assert_eq!(segments(uri).unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn a_path_that_means_nothing_is_refused_by_its_place() {
        for (uri, part) in [
            ("/a b", "has ' '"),
            ("/a?b", "has '?'"),
            ("/a#b", "has '#'"),
            ("/ä", "has 'ä'"),
            ("//a", "empty segment"),
            ("/{id}/{id}", "has {id} twice"),
            ("/{1}", "begins with a letter"),
            ("/x{id}", "is a whole segment"),
            ("/*/a", "is the last one"),
            ("/a*", "is the last one"),
            ("/a/../b", "has \"..\""),
            ("/./a", "has \".\""),
            ("/a%zz", "has \"%zz\""),
            ("/a%2", "has \"%2\""),
        ] {
            let problem = check_uri("uris[0]", uri).unwrap_err().to_string();
            assert!(
                problem.starts_with("uris[0] ") && problem.contains(part),
                "{uri}: {problem}"
            );
        }
        for fine in [
            "hello",
            "/",
            "/a/b.c~d",
            "/%20",
            "/a:b",
            "/users/{user_id}",
            "/files/*",
        ] {
            assert!(check_uri("uris[0]", fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn hosts_have_no_port_and_origins_no_path() {
        for fine in [
            "localhost",
            "API.example.org",
            "*.example.org",
            "10.0.0.1",
            "[::1]",
        ] {
            assert!(check_host("h", fine).is_ok(), "{fine}");
        }
        for bad in ["", "a:80", "a/b", "*", "*.", "a..b", "-a", "a b", "http://a"] {
            assert!(check_host("h", bad).is_err(), "{bad}");
        }
        for fine in ["https://shop.example.org", "http://localhost:3000"] {
            assert!(check_origin("o", fine).is_ok(), "{fine}");
        }
        for bad in ["*", "shop.example.org", "https://", "https://a/b", "ftp://a"] {
            assert!(check_origin("o", bad).is_err(), "{bad}");
        }
    }
}
