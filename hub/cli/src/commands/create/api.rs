//! Flags of APIs.

use serde_json::{Map, Value, json};

/// `create api`.
#[derive(clap::Args)]
pub(super) struct Api {
    /// Its name
    name: String,
    /// Name of the function that answers
    function: String,
    /// Paths: /exact, /users/{id}, /below/*
    #[arg(
        long = "path",
        short,
        value_name = "PATH",
        value_delimiter = ',',
        default_value = "/"
    )]
    paths: Vec<String>,
    /// Methods
    #[arg(
        long = "method",
        short,
        value_name = "METHOD",
        value_delimiter = ',',
        default_value = "GET"
    )]
    methods: Vec<String>,
    /// Hosts at which the paths are meant as they are; else they are below /ORGANIZATION
    #[arg(long = "domain", short = 'd', value_name = "HOST", value_delimiter = ',')]
    hosts: Vec<String>,
    /// Refuse requests that do not come over TLS
    #[arg(long)]
    https_only: bool,
    /// Do not serve it yet
    #[arg(long)]
    disable: bool,
    /// Let scripts of all sites call it
    #[arg(long)]
    cors: bool,
    /// Let scripts of these sites call it, such as `https://shop.example.org`
    #[arg(long = "cors-origin", value_name = "ORIGIN", value_delimiter = ',')]
    cors_origins: Vec<String>,
    /// Who may call: public, api-key, basic, jwt, hmac
    #[arg(long, value_name = "KIND", default_value = "public")]
    auth: String,
    /// Name of the secret with what callers must know
    #[arg(long, value_name = "NAME")]
    auth_secret: Option<String>,
    /// Header of the key (api-key) or the signature (hmac)
    #[arg(long, value_name = "HEADER")]
    auth_header: Option<String>,
    /// Where the keys of tokens are (jwt)
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,
    /// Who must have issued tokens (jwt)
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// For whom tokens must be (jwt)
    #[arg(long, value_name = "AUDIENCE", value_delimiter = ',')]
    audience: Vec<String>,
    /// How long a caller waits, milliseconds; 0 leaves it to the hub
    #[arg(long, value_name = "MS", default_value_t = 0)]
    timeout: u32,
    /// The largest body; 0 leaves it to the hub
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    max_body_bytes: u32,
    /// Requests a second, of everybody together
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    /// Requests a second, of each caller
    #[arg(long, value_name = "N")]
    consumer_rate: Option<u32>,
}

impl Api {
    pub(super) fn body(self) -> Value {
        let protocols: &[&str] = match self.https_only {
            true => &["https"],
            false => &["http", "https"],
        };
        let mut body = json!({
            "name": self.name,
            "function": self.function,
            "uris": self.paths,
            "methods": self.methods,
            "hosts": self.hosts,
            "protocols": protocols,
            "enabled": !self.disable,
            "cors": self.cors,
            "corsOrigins": self.cors_origins,
            "authentication": self.auth,
            "timeout": self.timeout,
            "maxBodyBytes": self.max_body_bytes,
        });
        let texts = [
            ("secret", self.auth_secret),
            ("header", self.auth_header),
            ("jwksUrl", self.jwks_url),
            ("issuer", self.issuer),
        ];
        let mut credentials: Map<_, _> = given(texts.map(|(key, said)| (key, said.map(Value::String))));
        if !self.audience.is_empty() {
            credentials.insert("audience".to_owned(), json!(self.audience));
        }
        let rates = [("perSecond", self.rate), ("perConsumer", self.consumer_rate)];
        let rates = given(rates.map(|(key, said)| (key, said.map(Value::from))));
        for (key, part) in [("credentials", credentials), ("rateLimit", rates)] {
            if !part.is_empty() {
                body[key] = Value::Object(part);
            }
        }
        body
    }
}

fn given<const N: usize>(said: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let said = said.into_iter();
    said.filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        api: Api,
    }

    fn body(line: &str) -> Value {
        let words = std::iter::once("api").chain(line.split(' '));
        Line::try_parse_from(words).unwrap().api.body()
    }

    #[test]
    fn what_is_not_said_is_as_published() {
        let expected = json!({
            "name": "a", "function": "f", "uris": ["/"], "methods": ["GET"], "hosts": [],
            "protocols": ["http", "https"], "enabled": true, "cors": false, "corsOrigins": [],
            "authentication": "public", "timeout": 0, "maxBodyBytes": 0,
        });
        assert_eq!(body("a f"), expected);
    }

    #[test]
    fn flags_are_the_api() {
        let body = body(
            "a f -p /x -p /y -m GET,POST -d x.org --https-only --disable --cors --auth jwt --jwks-url https://k \
             --issuer i --audience b --rate 5 --consumer-rate 2 --timeout 100",
        );
        for (key, value) in [
            ("uris", json!(["/x", "/y"])),
            ("methods", json!(["GET", "POST"])),
            ("hosts", json!(["x.org"])),
            ("protocols", json!(["https"])),
            ("enabled", json!(false)),
            (
                "credentials",
                json!({"jwksUrl": "https://k", "issuer": "i", "audience": ["b"]}),
            ),
            ("rateLimit", json!({"perSecond": 5, "perConsumer": 2})),
            ("timeout", json!(100)),
        ] {
            assert_eq!(body[key], value, "{key}");
        }
    }
}
