//! Where a vCenter is: host and port from the ways people write them, and what follows from these.

use std::net::Ipv6Addr;

use percent_encoding::percent_decode_str;

const HTTPS: u16 = 443;

/// A vCenter's (or ESXi host's) address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

/// User and password, as written into an address.
pub(crate) type UserInfo = (String, String);

impl Address {
    /// Reads `vc.example.com`, `vc:8443`, `[::1]:443`, `https://vc/sdk`. The error says what is wrong and never repeats
    /// the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let rest = text.trim();
        let rest = match rest.split_once("://") {
            Some(("https", rest)) => rest,
            Some(_) => return Err("only https:// is spoken; leave the scheme out".to_owned()),
            None => rest,
        };
        if rest.contains('@') {
            return Err("holds a user; give username and password as settings of their own".to_owned());
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        if !matches!(path.trim_end_matches('/'), "" | "sdk") {
            return Err("is no host; write HOST or HOST:PORT".to_owned());
        }
        let (host, port) = split_port(authority)?;
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let is_v6 = host.parse::<Ipv6Addr>().is_ok();
        if host.is_empty() || !(is_v6 || host.chars().all(is_name)) {
            return Err("is no host name or IP address; write HOST or HOST:PORT".to_owned());
        }
        Ok(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// Reads `user:password@host:port`, the original's one setting for everything. User and password may be
    /// percent-encoded; the last `@` ends them.
    pub(crate) fn parse_with_user(text: &str) -> Result<(Self, Option<UserInfo>), String> {
        let rest = text.trim();
        let rest = rest.strip_prefix("https://").unwrap_or(rest);
        let Some((user_info, address)) = rest.rsplit_once('@') else {
            return Ok((Self::parse(rest)?, None));
        };
        let Some((user, password)) = user_info.split_once(':') else {
            return Err("has a user but no password; write USER:PASSWORD@HOST:PORT".to_owned());
        };
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        Ok((Self::parse(address)?, Some((decoded(user), decoded(password)))))
    }

    /// Name or IP address, without brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }
    /// Where requests go.
    pub(crate) fn url(&self) -> String {
        format!("https://{}:{}/sdk", self.bracketed(), self.port)
    }
    /// Where vCenter's REST interface is.
    pub(crate) fn rest(&self) -> String {
        format!("https://{}:{}/rest", self.bracketed(), self.port)
    }
    /// The `source` of events: the same for everybody who knows this vCenter by this name.
    pub(crate) fn source(&self) -> String {
        match self.port {
            HTTPS => format!("https://{}/sdk", self.bracketed()),
            port => format!("https://{}:{port}/sdk", self.bracketed()),
        }
    }
    fn bracketed(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        }
    }
}

fn split_port(authority: &str) -> Result<(&str, u16), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("has a [ without a ]")?;
            (host, port.strip_prefix(':'))
        }
        None if authority.matches(':').count() > 1 => (authority, None),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        None => HTTPS,
        Some(port) => port
            .parse()
            .ok()
            .filter(|p| *p > 0)
            .ok_or("has a port that is no number from 1 to 65535")?,
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_all_the_ways_people_write_it() {
        let table = [
            (
                "vc.example.com",
                "https://vc.example.com:443/sdk",
                "https://vc.example.com/sdk",
            ),
            (
                "VC.example.com:443",
                "https://vc.example.com:443/sdk",
                "https://vc.example.com/sdk",
            ),
            (
                "https://vc.example.com/sdk",
                "https://vc.example.com:443/sdk",
                "https://vc.example.com/sdk",
            ),
            (
                "127.0.0.1:8989",
                "https://127.0.0.1:8989/sdk",
                "https://127.0.0.1:8989/sdk",
            ),
            ("[::1]:8989", "https://[::1]:8989/sdk", "https://[::1]:8989/sdk"),
            ("::1", "https://[::1]:443/sdk", "https://[::1]/sdk"),
        ];
        for (text, url, source) in table {
            let address = Address::parse(text).unwrap();
            assert_eq!(
                (address.url().as_str(), address.source().as_str()),
                (url, source),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_repeating_it() {
        let table = [
            "",
            "vc:0",
            "vc:99999",
            "vc:port",
            "http://vc",
            "vc/ui",
            "root:hunter2@vc",
            "a b",
            "[::1",
        ];
        for text in table {
            let problem = Address::parse(text).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn the_original_s_address_holds_user_and_password() {
        let table = [
            ("root:pass@vc:443", "root", "pass"),
            (
                "administrator@vsphere.local:p@ss:w@vc",
                "administrator@vsphere.local",
                "p@ss:w",
            ),
            (
                "administrator%40vsphere.local:p%26%3Cx%3E@vc",
                "administrator@vsphere.local",
                "p&<x>",
            ),
            ("https://root:100%@vc/sdk", "root", "100%"),
        ];
        for (text, user, password) in table {
            let (address, user_info) = Address::parse_with_user(text).unwrap();
            assert_eq!(address.source(), "https://vc/sdk", "{text}");
            assert_eq!(user_info, Some((user.to_owned(), password.to_owned())), "{text}");
        }
        assert_eq!(Address::parse_with_user("vc").unwrap().1, None);
        assert!(
            !Address::parse_with_user("hunter2@vc")
                .unwrap_err()
                .contains("hunter2")
        );
    }
}
