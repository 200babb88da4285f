//! What a driver program is started with: its arguments and its environment. Pure.
//!
//! Arguments are the configuration, as `--key=value`. The environment is clean but for what every program needs;
//! then come the secrets' keys, then what the hub says, so that no secret can stand in for the hub.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use dispatch_contract::{ExposeSecret as _, SecretString};
use dispatch_schemas::{ConfigItem, Driver, Secret};

use super::address::reachable;
use super::program::Program;

/// What a program inherits.
const INHERITED: [&str; 8] = [
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// How to start a driver once.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, SecretString>,
}

/// What a launch is made of besides the program.
pub(crate) struct Setting<'a> {
    /// The driver.
    pub(crate) driver: &'a Driver,
    /// Settings of its type, for those it does not set itself.
    pub(crate) defaults: &'a [ConfigItem],
    /// Its secrets.
    pub(crate) secrets: &'a [Secret],
    /// Where the hub listens.
    pub(crate) hub: SocketAddr,
    /// Where others reach the driver, if it listens.
    pub(crate) public_url: String,
    /// The port it has to listen on, if it cannot say where it does.
    pub(crate) port: Option<u16>,
    /// Proves that it is this driver.
    pub(crate) token: &'a SecretString,
    /// Marks the processes of this hub.
    pub(crate) supervisor: &'a str,
}

impl Launch {
    /// Puts it together; `inherited` is the hub's own environment.
    pub(crate) fn new(
        program: &Program,
        setting: &Setting<'_>,
        inherited: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let hub = reachable(setting.hub);
        let mut args = arguments(program, setting.driver, setting.defaults);
        if program.driver.is_none() {
            args.push(format!("--dispatch-api-endpoint={hub}"));
        }
        let plain = |value: String| SecretString::from(value);
        let mut env = BTreeMap::new();
        for name in INHERITED {
            if let Some(value) = inherited(name) {
                env.insert(name.to_owned(), plain(value));
            }
        }
        for (key, value) in setting.secrets.iter().flat_map(|secret| &secret.secrets) {
            let name = key.to_uppercase().replace('-', "_");
            if !INHERITED.contains(&name.as_str()) {
                env.insert(name, value.to_secret_string());
            }
        }
        let driver = setting.driver;
        let said = [
            ("K_SINK", format!("http://{hub}/v1/sink/{}", driver.id)),
            ("DISPATCH_TOKEN", setting.token.expose_secret().to_owned()),
            ("AUTH_TOKEN", setting.token.expose_secret().to_owned()),
            ("DISPATCH_DRIVER_ID", driver.id.to_string()),
            ("DISPATCH_DRIVER_NAME", driver.name.clone()),
            ("DISPATCH_PUBLIC_URL", setting.public_url.clone()),
            (super::leftovers::MARK, setting.supervisor.to_owned()),
        ];
        env.extend(said.map(|(name, value)| (name.to_owned(), plain(value))));
        if !driver.extensions.is_empty() {
            let overrides = serde_json::json!({"extensions": driver.extensions});
            env.insert("K_CE_OVERRIDES".to_owned(), plain(overrides.to_string()));
        }
        if let Some(port) = setting.port {
            env.insert("PORT".to_owned(), plain(port.to_string()));
        }
        Self {
            program: program.path.clone(),
            args,
            env,
        }
    }
}

/// The configuration as arguments: the driver's own, then what only its type sets.
pub(crate) fn arguments(program: &Program, driver: &Driver, defaults: &[ConfigItem]) -> Vec<String> {
    let own = |key: &str| driver.config.iter().any(|item| item.key == key);
    let more = defaults.iter().filter(|item| !own(&item.key));
    let mut args: Vec<String> = driver.config.iter().chain(more).map(argument).collect();
    let is_cron = program.driver.as_deref() == Some("cron");
    if program.original && is_cron && !args.iter().any(|arg| arg.starts_with("--dialect")) {
        args.push("--dialect=dispatch".to_owned());
    }
    args
}

fn argument(item: &ConfigItem) -> String {
    match item.value.is_empty() {
        true => format!("--{}", item.key),
        false => format!("--{}={}", item.key, item.value),
    }
}

#[cfg(test)]
mod tests {
    use dispatch_schemas::SecretText;

    use super::*;

    fn program(driver: Option<&str>, original: bool) -> Program {
        Program {
            path: "/p".into(),
            driver: driver.map(str::to_owned),
            original,
        }
    }
    fn item(key: &str, value: &str) -> ConfigItem {
        ConfigItem {
            key: key.to_owned(),
            value: value.to_owned(),
        }
    }
    fn driver(config: Vec<ConfigItem>) -> Driver {
        Driver {
            name: "d".to_owned(),
            id: uuid::Uuid::nil(),
            config,
            ..Driver::default()
        }
    }
    fn launch(program: &Program, secrets: &[(&str, &str)]) -> Launch {
        let secret = Secret {
            secrets: secrets
                .iter()
                .map(|(k, v)| ((*k).to_owned(), SecretText::new(*v)))
                .collect(),
            ..Secret::default()
        };
        let setting = Setting {
            driver: &driver(vec![item("a", "1")]),
            defaults: &[],
            secrets: &[secret],
            hub: "0.0.0.0:8080".parse().unwrap(),
            public_url: "http://h/driver/o/d".to_owned(),
            port: Some(4000),
            token: &SecretString::from("t0ken"),
            supervisor: "/data",
        };
        Launch::new(program, &setting, |name| match name {
            "PATH" | "HTTP_PROXY" | "AWS_SECRET_ACCESS_KEY" => Some("inherited".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn settings_become_arguments_and_the_types_stand_behind_the_drivers() {
        let driver = driver(vec![item("host", "a=b"), item("insecure", "")]);
        let defaults = [item("host", "other"), item("page", "7")];
        let args = arguments(&program(Some("vcenter"), false), &driver, &defaults);
        assert_eq!(args, ["--host=a=b", "--insecure", "--page=7"]);
    }

    #[test]
    fn the_originals_cron_image_keeps_its_dialect() {
        let args = |original, config| arguments(&program(Some("cron"), original), &driver(config), &[]);
        assert_eq!(args(true, vec![]), ["--dialect=dispatch"]);
        assert_eq!(args(true, vec![item("dialect", "unix")]), ["--dialect=unix"]);
        assert_eq!(args(false, vec![]), [""; 0]);
    }

    #[test]
    fn secrets_become_variables_but_cannot_stand_in_for_the_hub() {
        let secrets = [
            ("vcenter-url", "u:p@h"),
            ("k-sink", "http://evil"),
            ("path", "/evil"),
            ("DISPATCH_TOKEN", "x"),
            ("port", "22"),
        ];
        let launch = launch(&program(None, false), &secrets);

        let variable = |name: &str| launch.env.get(name).map(|v| v.expose_secret().to_owned());
        assert_eq!(variable("VCENTER_URL").as_deref(), Some("u:p@h"));
        assert_eq!(variable("PATH").as_deref(), Some("inherited"));
        assert_eq!(variable("DISPATCH_TOKEN").as_deref(), Some("t0ken"));
        assert_eq!(variable("PORT").as_deref(), Some("4000"));
        assert_eq!(variable("AUTH_TOKEN").as_deref(), Some("t0ken"));
        let sink = "http://127.0.0.1:8080/v1/sink/00000000-0000-0000-0000-000000000000";
        assert_eq!(variable("K_SINK").as_deref(), Some(sink));
        assert_eq!(
            (variable("HTTP_PROXY"), variable("AWS_SECRET_ACCESS_KEY")),
            (None, None)
        );
        let shown = format!("{launch:?}");
        assert!(!shown.contains("t0ken") && !shown.contains("u:p@h"), "{shown}");
    }

    #[test]
    fn only_programs_of_others_get_the_old_flag() {
        let old = "--dispatch-api-endpoint=127.0.0.1:8080";
        assert_eq!(launch(&program(None, false), &[]).args, ["--a=1", old]);
        assert_eq!(launch(&program(Some("cron"), false), &[]).args, ["--a=1"]);
    }
}
