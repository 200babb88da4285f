//! Where events go and in which form: pure checks of what the user wrote.

use http::{HeaderValue, Uri};

/// How an event becomes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Attributes as `ce-` headers, data as the body.
    #[default]
    Binary,
    /// The whole event as JSON.
    Structured,
}

/// A checked target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) uri: Uri,
    pub(crate) mode: Mode,
    /// Path and query alone, and the host: how HTTP/1.1 names the target.
    pub(crate) origin_form: Uri,
    pub(crate) host: HeaderValue,
}

/// Why a URL cannot be a target. The text never repeats the URL: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// No URL at all.
    #[error("is not an absolute URL: {0}")]
    NotAUrl(String),
    /// Another protocol.
    #[error("must begin with http:// or https://, not {0}://")]
    Scheme(String),
    /// A password in the URL would be in every log along the way.
    #[error("must not hold a user name or password")]
    UserInfo,
}

impl Target {
    /// Checks the URL: http or https, a host, no user name. A fragment is dropped, as it is never sent.
    pub fn new(uri: &str, mode: Mode) -> Result<Self, TargetError> {
        let uri: Uri = uri
            .trim()
            .parse()
            .map_err(|e: http::uri::InvalidUri| TargetError::NotAUrl(e.to_string()))?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(other) => return Err(TargetError::Scheme(other.to_owned())),
            None => return Err(TargetError::NotAUrl("write http://host/path".to_owned())),
        }
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(TargetError::UserInfo);
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(TargetError::NotAUrl("it names no host".to_owned()));
        }
        let not_a_url = |e: http::Error| TargetError::NotAUrl(e.to_string());
        let origin_form = uri.path_and_query().map_or("/", |path| path.as_str());
        let origin_form = Uri::builder().path_and_query(origin_form).build();
        let host = uri.authority().map_or("", |authority| authority.as_str());
        let host = HeaderValue::from_str(host);
        Ok(Self {
            origin_form: origin_form.map_err(not_a_url)?,
            host: host.map_err(|e| not_a_url(e.into()))?,
            uri,
            mode,
        })
    }

    /// The URL without its query, which may hold a token.
    pub fn destination(&self) -> String {
        let place = |uri: &Uri| {
            Some(format!(
                "{}://{}{}",
                uri.scheme_str()?,
                uri.authority()?,
                uri.path()
            ))
        };
        place(&self.uri).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_shows_no_query() {
        let target = Target::new("https://x:8443/hook?token=hunter2", Mode::Binary).unwrap();
        assert_eq!(target.destination(), "https://x:8443/hook");
    }

    #[test]
    fn urls_are_checked() {
        let scheme = |s: &str| TargetError::Scheme(s.to_owned());
        for fine in [
            "http://x",
            "https://x:8443/a?b=c",
            "http://[::1]:80/",
            " http://127.0.0.1/h#f",
        ] {
            assert!(Target::new(fine, Mode::Binary).is_ok(), "{fine}");
        }
        assert_eq!(Target::new("ftp://x", Mode::Binary), Err(scheme("ftp")));
        assert_eq!(
            Target::new("http://u:hunter2@x/", Mode::Binary),
            Err(TargetError::UserInfo)
        );
        for bad in ["", "x", "/path", "x:80", "http://", "http:///p", "http://a b"] {
            assert!(
                matches!(Target::new(bad, Mode::Binary), Err(TargetError::NotAUrl(_))),
                "{bad}"
            );
        }
    }
}
