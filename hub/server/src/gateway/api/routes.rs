//! Which API a request is for: by host, method and path. Pure.
//!
//! There is a table for each host that an API names and one for everybody else, and in it a router for each method,
//! so that the most specific path among those that take the method wins: text before a parameter before what
//! follows. The tables are made anew for every change and swapped; nothing is locked while a request is looked up.

use std::collections::HashMap;
use std::sync::Arc;

use dispatch_schemas::{Segment, segments};
use http::Method;
use matchit::{InsertError, Router};

use super::served::Served;

/// Methods that have a router of their own; all others share the last one.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
/// What the router calls that which follows; no parameter can be called so.
const REST: &str = "-";

/// All that is served.
#[derive(Debug, Default)]
pub(super) struct Routes {
    hosts: HashMap<String, Table>,
    any: Table,
}

/// What is served at one host.
#[derive(Debug)]
struct Table {
    by_method: [Router<Place>; METHODS.len() + 1],
}

/// One path of an API.
#[derive(Debug, Clone)]
struct Place {
    served: Arc<Served>,
    /// As the API says it.
    uri: Arc<str>,
}

/// What a request is for.
#[derive(Debug)]
pub(super) enum Found {
    /// This API.
    Api {
        served: Arc<Served>,
        /// Which of its paths.
        uri: Arc<str>,
        /// Parameters of the path, as they were written.
        params: Vec<(String, String)>,
    },
    /// Something is served there, but not so.
    OtherMethods {
        allowed: Vec<Method>,
        /// For each of them.
        served: Vec<Arc<Served>>,
    },
    /// Nothing.
    Nothing,
}

/// Two APIs for the same requests.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path} is served by api {other} already{}", at(host, method))]
pub(super) struct Conflict {
    pub(super) path: String,
    host: Option<String>,
    method: Option<Method>,
    pub(super) other: String,
}

fn at(host: &Option<String>, method: &Option<Method>) -> String {
    let method = method.as_ref().map(|method| format!(" for {method}"));
    let host = host.as_ref().map(|host| format!(" at host {host}"));
    method.unwrap_or_default() + &host.unwrap_or_default()
}

impl Default for Table {
    fn default() -> Self {
        Self {
            by_method: std::array::from_fn(|_| Router::new()),
        }
    }
}

impl Routes {
    /// Adds an API, unless it stands where another one does.
    pub(super) fn add(&mut self, served: &Arc<Served>) -> Result<(), Conflict> {
        let api = &served.api;
        let prefix = match api.hosts.is_empty() {
            true => format!("/{}", served.organization),
            false => String::new(),
        };
        let mut paths = Vec::new();
        // A path that is said as it is comes before one that only includes it, as /a/* does /a.
        let (below, exact): (Vec<_>, Vec<_>) = api.uris.iter().partition(|uri| uri.ends_with('*'));
        for uri in exact.into_iter().chain(below) {
            let place = Place {
                served: Arc::clone(served),
                uri: uri.as_str().into(),
            };
            let written = patterns(&prefix, uri).into_iter();
            paths.extend(written.map(|path| (path, place.clone())));
        }
        if api.hosts.is_empty() {
            return self.any.add(served, &paths, None);
        }
        for host in &api.hosts {
            let table = self.hosts.entry(host.clone()).or_default();
            table.add(served, &paths, Some(host))?;
        }
        Ok(())
    }

    /// What a request is for. `host` is lower case and without a port.
    pub(super) fn find(&self, host: Option<&str>, method: &Method, path: &str) -> Found {
        let tables = || {
            host.into_iter()
                .flat_map(|host| self.at_host(host))
                .chain([&self.any])
        };
        for table in tables() {
            if let Some(found) = table.find(method, path) {
                return found;
            }
        }
        let mut others = Vec::new();
        for table in tables() {
            table.others(path, &mut others);
        }
        if others.is_empty() {
            return Found::Nothing;
        }
        let (allowed, served) = others.into_iter().unzip();
        Found::OtherMethods { allowed, served }
    }

    /// The host's own table, then those of `*.` behind its dots, the nearest first.
    fn at_host<'a>(&'a self, host: &'a str) -> impl Iterator<Item = &'a Table> {
        let above = host
            .match_indices('.')
            .filter_map(|(dot, _)| self.hosts.get(&format!("*{}", &host[dot..])));
        self.hosts.get(host).into_iter().chain(above)
    }
}

impl Table {
    fn add(
        &mut self,
        served: &Arc<Served>,
        paths: &[(String, Place)],
        host: Option<&String>,
    ) -> Result<(), Conflict> {
        let every = served.methods.is_empty();
        for (at, router) in self.by_method.iter_mut().enumerate() {
            let method = METHODS.get(at);
            let takes = match (method, every) {
                (Some(method), false) => served.methods.contains(method),
                (None, false) => false,
                // OPTIONS asks what is there; only who names it wants to answer it.
                (Some(method), true) => *method != Method::OPTIONS,
                (None, true) => true,
            };
            if !takes {
                continue;
            }
            for (path, place) in paths {
                match router.insert(path.clone(), place.clone()) {
                    Ok(()) => {}
                    // The same API says the same path twice, as in /a and /a/*.
                    Err(_)
                        if router
                            .at(path)
                            .is_ok_and(|there| Arc::ptr_eq(&there.value.served, served)) => {}
                    Err(error) => {
                        let other = match &error {
                            InsertError::Conflict { with } => router.at(with).ok(),
                            _ => None,
                        };
                        return Err(Conflict {
                            path: path.clone(),
                            host: host.cloned(),
                            method: method.filter(|_| !every).cloned(),
                            other: other.map_or_else(
                                || error.to_string(),
                                |other| named(served, &other.value.served),
                            ),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn find(&self, method: &Method, path: &str) -> Option<Found> {
        let found = |router: &Router<Place>| {
            let found = router.at(path).ok()?;
            let name = |name: &str| match name {
                REST => "*".to_owned(),
                name => name.to_owned(),
            };
            let params = found
                .params
                .iter()
                .map(|(key, value)| (name(key), value.to_owned()));
            Some(Found::Api {
                served: Arc::clone(&found.value.served),
                uri: Arc::clone(&found.value.uri),
                params: params.collect(),
            })
        };
        let router = |method: &Method| {
            let at = METHODS.iter().position(|known| known == method);
            &self.by_method[at.unwrap_or(METHODS.len())]
        };
        found(router(method)).or_else(|| match *method {
            // A HEAD is a GET without the body of its answer (RFC 9110, 9.3.2).
            Method::HEAD => found(router(&Method::GET)),
            _ => None,
        })
    }

    fn others(&self, path: &str, others: &mut Vec<(Method, Arc<Served>)>) {
        for (method, router) in METHODS.iter().zip(&self.by_method) {
            if let Ok(found) = router.at(path)
                && !others.iter().any(|(known, _)| known == method)
            {
                others.push((method.clone(), Arc::clone(&found.value.served)));
            }
        }
    }
}

/// The other API as this one's owner may know it.
fn named(served: &Served, other: &Served) -> String {
    match served.organization == other.organization {
        true => other.api.name.clone(),
        false => "of another organization".to_owned(),
    }
}

/// A path as the router writes it: one or, with what follows, three.
fn patterns(prefix: &str, uri: &str) -> Vec<String> {
    let mut path = prefix.to_owned();
    for segment in segments(uri).unwrap_or_default() {
        match segment {
            Segment::Text(text) => path.extend(["/", text]),
            Segment::Parameter(name) => path.extend(["/{", name, "}"]),
            Segment::Rest => {
                let below = format!("{path}/{{*{REST}}}");
                let folder = format!("{path}/");
                let itself = Some(path).filter(|path| !path.is_empty());
                return itself.into_iter().chain([folder, below]).collect();
            }
        }
    }
    match uri {
        // The place itself, with and without a slash.
        "/" if path.is_empty() => vec!["/".to_owned()],
        "/" => vec![format!("{path}/"), path],
        _ => vec![path],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch_schemas::Api;

    fn served(organization: &str, name: &str, more: &str) -> Arc<Served> {
        let json = format!(r#"{{"name":"{name}","function":"f",{more}}}"#);
        let api: Api = serde_json::from_str(&json).unwrap();
        Arc::new(Served::new(organization.into(), api.normalised()).unwrap())
    }

    fn routes(apis: &[(&str, &str, &str)]) -> Result<Routes, Conflict> {
        let mut routes = Routes::default();
        for (organization, name, more) in apis {
            routes.add(&served(organization, name, more))?;
        }
        Ok(routes)
    }

    fn told(routes: &Routes, request: &str) -> String {
        let mut parts = request.split(' ');
        let method: Method = parts.next().unwrap().parse().unwrap();
        let path = parts.next().unwrap();
        match routes.find(parts.next(), &method, path) {
            Found::Api { served, params, .. } => {
                let params: Vec<_> = params.iter().map(|(k, v)| format!(" {k}={v}")).collect();
                format!("{}{}", served.api.name, params.concat())
            }
            Found::OtherMethods { allowed, .. } => {
                let allowed: Vec<_> = allowed.iter().map(Method::as_str).collect();
                format!("only {}", allowed.join(","))
            }
            Found::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn a_request_finds_the_most_specific_api_that_takes_its_method() {
        let routes = routes(&[
            ("o", "hello", r#""uris":["/hello"],"methods":["POST"]"#),
            ("o", "user", r#""uris":["/users/{id}"],"methods":["GET"]"#),
            ("o", "me", r#""uris":["/users/me"]"#),
            ("o", "me-post", r#""uris":["/users/you"],"methods":["POST"]"#),
            ("o", "files", r#""uris":["/files/*"]"#),
            ("o", "list", r#""uris":["/files/list"],"methods":["GET"]"#),
            ("p", "hello", r#""uris":["/hello"]"#),
            ("o", "root", r#""uris":["/"],"methods":["GET"]"#),
            ("o", "host", r#""uris":["/hello"],"hosts":["api.example.org"]"#),
            ("o", "wild", r#""uris":["/{a}/{b}"],"hosts":["*.example.org"]"#),
        ])
        .unwrap();
        for (request, expected) in [
            ("POST /o/hello", "hello"),
            ("GET /o/hello", "only POST"),
            ("OPTIONS /o/hello", "only POST"),
            ("POST /o/hello/", "nothing"),
            ("POST /hello", "nothing"),
            ("GET /p/hello", "hello"),
            ("PROPFIND /p/hello", "hello"),
            ("PROPFIND /o/hello", "only POST"),
            ("GET /o/users/7", "user id=7"),
            ("HEAD /o/users/7", "user id=7"),
            ("GET /o/users/a%2Fb", "user id=a%2Fb"),
            ("GET /o/users/me", "me"),
            ("GET /o/users/you", "user id=you"),
            ("POST /o/users/you", "me-post"),
            ("GET /o/users/", "nothing"),
            ("GET /o/files", "files"),
            ("PUT /o/files/", "files"),
            ("PUT /o/files/a/b/", "files *=a/b/"),
            ("GET /o/files/list", "list"),
            ("PUT /o/files/list", "files *=list"),
            ("OPTIONS /o/files/x", "only GET,HEAD,POST,PUT,PATCH,DELETE"),
            ("GET /o", "root"),
            ("GET /o/", "root"),
            ("GET /hello api.example.org", "host"),
            ("GET /o/hello api.example.org", "wild a=o b=hello"),
            ("GET /1/2 x.y.example.org", "wild a=1 b=2"),
            ("GET /1/2 example.org", "nothing"),
            ("POST /o/hello unknown.org", "hello"),
            ("GET /driver/x", "nothing"),
        ] {
            assert_eq!(told(&routes, request), expected, "{request}");
        }
    }

    #[test]
    fn which_of_its_paths_a_request_is_for_is_told_as_the_api_says_it() {
        let routes = routes(&[("o", "f", r#""uris":["/a/{id}","/a/b","/c/*","/d/*","/d","/"]"#)]).unwrap();
        for (path, wanted) in [
            ("/o/a/7", "/a/{id}"),
            ("/o/a/b", "/a/b"),
            ("/o/c", "/c/*"),
            ("/o/c/d/e", "/c/*"),
            ("/o/d", "/d"),
            ("/o/d/", "/d/*"),
            ("/o", "/"),
        ] {
            let Found::Api { uri, .. } = routes.find(None, &Method::GET, path) else {
                panic!("{path} is served")
            };
            assert_eq!(&*uri, wanted, "{path}");
        }
    }

    #[test]
    fn two_apis_for_the_same_requests_are_a_conflict_by_name() {
        let with = |more: &str| {
            let first = ("o", "first", r#""uris":["/a/{id}"],"methods":["GET","PUT"]"#);
            routes(&[first, ("o", "second", more)])
                .map(|_| ())
                .map_err(|e| e.to_string())
        };

        assert_eq!(
            with(r#""uris":["/b","/a/{other}"],"methods":["PUT"]"#).unwrap_err(),
            "/o/a/{other} is served by api first already for PUT"
        );
        assert_eq!(
            with(r#""uris":["/a/{id}"]"#).unwrap_err(),
            "/o/a/{id} is served by api first already"
        );
        for fine in [
            r#""uris":["/a/{id}"],"methods":["POST"]"#,
            r#""uris":["/a/b"],"methods":["GET"]"#,
            r#""uris":["/a/{id}"],"hosts":["h.org"]"#,
            r#""uris":["/a","/a/","/a/*"],"methods":["DELETE"]"#,
        ] {
            assert_eq!(with(fine), Ok(()), "{fine}");
        }
        let hosts = routes(&[
            ("o", "mine", r#""uris":["/a"],"hosts":["h.org"]"#),
            (
                "p",
                "theirs",
                r#""uris":["/a"],"hosts":["h.org"],"methods":["GET"]"#,
            ),
        ]);
        assert_eq!(
            hosts.unwrap_err().to_string(),
            "/a is served by api of another organization already for GET at host h.org"
        );
    }
}
