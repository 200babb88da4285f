//! Headers of a request or an answer that is passed on: what is only for one connection stays behind, and who
//! sent it is added (RFC 9110, section 7.6.1).

use std::net::IpAddr;

use http::header::{CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue};

/// For one connection only.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// Takes out what is for one connection, and what the sender's `Connection` names.
pub(super) fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Says who sent it, and under which address. What a sender claims is overwritten, but for the way it says the
/// request took so far.
pub(super) fn say_forwarded(headers: &mut HeaderMap, peer: IpAddr, proto: &'static str, prefix: &str) {
    let mut way: Vec<String> = headers
        .get_all(&FORWARDED_FOR)
        .iter()
        .filter_map(|value| value.to_str().ok().map(str::to_owned))
        .collect();
    way.push(peer.to_string());
    if let Ok(way) = HeaderValue::from_str(&way.join(", ")) {
        headers.insert(FORWARDED_FOR, way);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static(proto));
    match headers.get(HOST).cloned() {
        Some(host) => headers.insert(FORWARDED_HOST, host),
        None => headers.remove(FORWARDED_HOST),
    };
    match HeaderValue::from_str(prefix) {
        Ok(prefix) => headers.insert(FORWARDED_PREFIX, prefix),
        Err(_) => headers.remove(FORWARDED_PREFIX),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_one_connection_stays_behind_and_so_does_what_it_names() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("transfer-encoding", "chunked"),
            ("x-signature", "kept"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }

        drop_hop_by_hop(&mut headers);

        assert_eq!(headers.len(), 1);
        assert_eq!(headers["x-signature"], "kept");
    }

    #[test]
    fn the_way_is_added_to_and_other_claims_of_the_sender_do_not_count() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "hub.example.org"),
            ("x-forwarded-for", "203.0.113.7"),
            ("x-forwarded-proto", "gopher"),
            ("x-forwarded-host", "evil"),
            ("x-forwarded-prefix", "/evil"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }

        say_forwarded(
            &mut headers,
            "10.0.0.1".parse().unwrap(),
            "https",
            "/driver/dispatch/d",
        );

        assert_eq!(headers["x-forwarded-for"], "203.0.113.7, 10.0.0.1");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert_eq!(headers["x-forwarded-host"], "hub.example.org");
        assert_eq!(headers["x-forwarded-prefix"], "/driver/dispatch/d");
    }
}
