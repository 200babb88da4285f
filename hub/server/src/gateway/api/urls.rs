//! The full addresses of an API, for people. Pure.

use std::net::SocketAddr;

use dispatch_schemas::Api;
use http::Uri;

use crate::drivers::reachable;
use crate::hub::Foundation;

/// Where others reach the gateway, over http and https.
#[derive(Debug, Clone)]
pub(super) struct Urls {
    http: Base,
    https: Base,
}

/// `http://127.0.0.1:8081` and perhaps a path.
#[derive(Debug, Clone)]
struct Base {
    scheme: &'static str,
    authority: String,
    path: String,
}

impl Urls {
    pub(super) fn of(foundation: &Foundation) -> Self {
        Self::new(
            foundation.gateway,
            foundation.gateway_tls,
            foundation.config.gateway_url.as_deref(),
        )
    }

    fn new(http: SocketAddr, https: SocketAddr, public: Option<&str>) -> Self {
        let base = |scheme, address| {
            let public = public.and_then(|url| url.parse::<Uri>().ok());
            let public = public.filter(|url| url.scheme_str() == Some(scheme));
            match public
                .as_ref()
                .and_then(|url| Some((url.authority()?, url.path())))
            {
                Some((authority, path)) => Base {
                    scheme,
                    authority: authority.to_string(),
                    path: path.trim_end_matches('/').to_owned(),
                },
                None => Base {
                    scheme,
                    authority: reachable(address).to_string(),
                    path: String::new(),
                },
            }
        };
        Self {
            http: base("http", http),
            https: base("https", https),
        }
    }

    /// Each protocol's, each host's, each path's.
    pub(super) fn of_api(&self, organization: &str, api: &Api) -> Vec<String> {
        let bases = [&self.http, &self.https]
            .into_iter()
            .filter(|base| api.protocols.is_empty() || api.protocols.iter().any(|p| p == base.scheme));
        let mut urls = Vec::new();
        for base in bases {
            match api.hosts.is_empty() {
                true => urls.extend(api.uris.iter().map(|uri| {
                    let uri = if uri == "/" { "" } else { uri };
                    format!(
                        "{}://{}{}/{organization}{uri}",
                        base.scheme, base.authority, base.path
                    )
                })),
                false => {
                    let port = base.port();
                    for host in &api.hosts {
                        let uris = api.uris.iter();
                        urls.extend(uris.map(|uri| format!("{}://{host}{port}{uri}", base.scheme)));
                    }
                }
            }
        }
        urls
    }
}

impl Base {
    /// With its colon; empty where the scheme says it.
    fn port(&self) -> String {
        match self.authority.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => format!(":{port}"),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(public: Option<&str>, more: &str) -> Vec<String> {
        let json = format!(r#"{{"name":"a","function":"f",{more}}}"#);
        let api: Api = serde_json::from_str(&json).unwrap();
        let (http, https) = ("0.0.0.0:8081".parse().unwrap(), "127.0.0.1:8443".parse().unwrap());
        Urls::new(http, https, public).of_api("dispatch", &api.normalised())
    }

    #[test]
    fn an_api_is_reached_over_its_protocols_at_its_hosts() {
        assert_eq!(
            urls(None, r#""uris":["/hello"]"#),
            [
                "http://127.0.0.1:8081/dispatch/hello",
                "https://127.0.0.1:8443/dispatch/hello"
            ]
        );
        assert_eq!(
            urls(
                Some("https://hub.example.org"),
                r#""uris":["/"],"protocols":["https"]"#
            ),
            ["https://hub.example.org/dispatch"]
        );
        assert_eq!(
            urls(
                Some("https://hub.example.org"),
                r#""uris":["/a","/b"],"hosts":["x.org"]"#
            ),
            [
                "http://x.org:8081/a",
                "http://x.org:8081/b",
                "https://x.org/a",
                "https://x.org/b"
            ]
        );
    }
}
