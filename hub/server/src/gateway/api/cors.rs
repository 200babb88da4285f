//! Scripts of other sites (the CORS protocol of the Fetch standard). Pure.

use dispatch_schemas::Api;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderValue, ORIGIN, VARY,
};

const ANY: HeaderValue = HeaderValue::from_static("*");
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// Whether a browser asks what a script may send.
pub(super) fn is_preflight(headers: &HeaderMap) -> bool {
    headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What an answer says of scripts; nothing where they may not. `asked` are the headers of the request.
pub(super) fn allow(api: &Api, asked: &HeaderMap, answer: &mut HeaderMap) {
    if !api.allows_cors() {
        return;
    }
    let origin = match api.cors_origins.is_empty() {
        true => ANY,
        false => {
            answer.append(VARY, HeaderValue::from_static("origin"));
            let said = asked.get(ORIGIN).and_then(|origin| origin.to_str().ok());
            let known = |origin: &&str| {
                api.cors_origins
                    .iter()
                    .any(|known| known.eq_ignore_ascii_case(origin))
            };
            match said
                .filter(known)
                .and_then(|origin| HeaderValue::from_str(origin).ok())
            {
                Some(origin) => origin,
                None => return,
            }
        }
    };
    answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, ANY);
    // `*` leaves Authorization out, so what a browser asks for is repeated.
    let headers = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).cloned().unwrap_or(ANY);
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, ANY);
    if is_preflight(asked) {
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(api: &str, origin: &str) -> Option<String> {
        let api: Api = serde_json::from_str(&format!(r#"{{"name":"a","function":"f",{api}}}"#)).unwrap();
        let mut asked = HeaderMap::new();
        asked.insert(ORIGIN, origin.parse().unwrap());
        let mut answer = HeaderMap::new();
        allow(&api.normalised(), &asked, &mut answer);
        answer
            .get(ACCESS_CONTROL_ALLOW_ORIGIN)
            .map(|v| v.to_str().unwrap().to_owned())
    }

    #[test]
    fn scripts_of_the_named_origins_may_and_of_others_may_not() {
        assert_eq!(allowed(r#""cors":false"#, "https://x.org"), None);
        assert_eq!(allowed(r#""cors":true"#, "https://x.org").as_deref(), Some("*"));
        let some = r#""corsOrigins":["https://X.org/"]"#;
        assert_eq!(allowed(some, "https://x.org").as_deref(), Some("https://x.org"));
        for other in ["https://y.org", "http://x.org", "null"] {
            assert_eq!(allowed(some, other), None, "{other}");
        }
    }
}
