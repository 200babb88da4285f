//! `dispatch server`: runs a hub.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use clap::builder::BoolishValueParser;
use dispatch_contract::parse_duration;
use dispatch_server::{Exit, Inherited, LogFormat, Overrides, SecretKey, Settings};

/// What is said here wins over `--config`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the hub's data [default: .dispatch]
    #[arg(
        long,
        value_name = "DIR",
        env = "DISPATCH_SERVER_DATA",
        hide_env_values = true
    )]
    data: Option<PathBuf>,
    /// Address to listen on [default: 127.0.0.1]
    #[arg(
        long,
        id = "host",
        value_name = "ADDRESS",
        env = "DISPATCH_SERVER_HOST",
        hide_env_values = true
    )]
    host: Option<String>,
    /// Port of the API; 0 takes a free one [default: 8080]
    #[arg(
        long,
        id = "port",
        value_name = "PORT",
        env = "DISPATCH_SERVER_PORT",
        hide_env_values = true
    )]
    port: Option<u16>,
    /// Port of the gateway, where APIs are served and drivers reached that listen; 0 takes a free one [default: 8081]
    #[arg(
        long,
        value_name = "PORT",
        env = "DISPATCH_SERVER_GATEWAY_PORT",
        hide_env_values = true
    )]
    gateway_port: Option<u16>,
    /// Port of the gateway for TLS; 0 takes a free one [default: 8443, or a free one where that is taken]
    #[arg(
        long,
        value_name = "PORT",
        env = "DISPATCH_SERVER_GATEWAY_TLS_PORT",
        hide_env_values = true
    )]
    gateway_tls_port: Option<u16>,
    /// The gateway's certificate, PEM [default: one the hub makes for itself]
    #[arg(
        long,
        value_name = "FILE",
        env = "DISPATCH_SERVER_GATEWAY_TLS_CERT",
        hide_env_values = true
    )]
    gateway_tls_cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "DISPATCH_SERVER_GATEWAY_TLS_KEY",
        hide_env_values = true
    )]
    gateway_tls_key: Option<PathBuf>,
    /// Folder of further certificates with their keys, for the hosts they name: a.pem and a.key
    #[arg(
        long,
        value_name = "DIR",
        env = "DISPATCH_SERVER_GATEWAY_TLS_FOLDER",
        hide_env_values = true
    )]
    gateway_tls_folder: Option<PathBuf>,
    /// Where others reach the gateway: scheme, host and port [default: of host and gateway port]
    #[arg(
        long,
        value_name = "URL",
        env = "DISPATCH_SERVER_GATEWAY_URL",
        hide_env_values = true,
        value_parser = dispatch_server::parse_public_url
    )]
    gateway_url: Option<String>,
    /// YAML file with all of this and more
    #[arg(
        long,
        id = "config",
        value_name = "FILE",
        env = "DISPATCH_SERVER_CONFIG",
        hide_env_values = true
    )]
    config: Option<PathBuf>,
    /// Folder of further driver executables
    #[arg(
        long,
        value_name = "DIR",
        env = "DISPATCH_SERVER_PLUGINS",
        hide_env_values = true
    )]
    plugins: Option<PathBuf>,
    /// File of the key that encrypts secrets, made if it is not there [default: secret.key in the data folder]
    #[arg(
        long,
        value_name = "FILE",
        env = "DISPATCH_SERVER_SECRET_KEY_FILE",
        hide_env_values = true
    )]
    secret_key_file: Option<PathBuf>,
    /// Listen where others can reach it, although nobody has to say who they are
    #[arg(long, env = "DISPATCH_SERVER_INSECURE_NO_AUTH", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    insecure_no_auth: bool,
    /// Chain the journal, so that `dispatch journal verify` finds what was altered on purpose
    #[arg(long, env = "DISPATCH_SERVER_JOURNAL_CHAIN", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    journal_chain: bool,
    /// How functions are contained: best (with all this machine has), required (not at all rather than less), off
    #[arg(
        long,
        value_name = "MODE",
        env = "DISPATCH_SERVER_SANDBOX",
        hide_env_values = true,
        value_parser = dispatch_server::SandboxMode::parse
    )]
    sandbox: Option<dispatch_server::SandboxMode>,
    /// Let functions that ask for it reach the network
    #[arg(long, env = "DISPATCH_SERVER_FUNCTION_NETWORK", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    function_network: bool,
    /// Networks that sources of functions may be fetched from beside public addresses, such as 10.0.0.0/8
    #[arg(
        long,
        value_name = "NETWORK",
        env = "DISPATCH_SERVER_FETCH_FROM",
        hide_env_values = true,
        value_delimiter = ',',
        value_parser = dispatch_server::parse_network
    )]
    fetch_from: Option<Vec<ipnet::IpNet>>,
    /// Begin with an example, and print every run
    #[arg(long, env = "DISPATCH_SERVER_QUICKSTART", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    quickstart: bool,
    /// How long a stop may take, such as 5s or PT1M [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    #[arg(env = "DISPATCH_SERVER_DRAIN_TIMEOUT", hide_env_values = true)]
    drain_timeout: Option<Duration>,
    /// How the log is written: text or json
    #[arg(
        long,
        value_name = "FORMAT",
        env = "DISPATCH_SERVER_LOG_FORMAT",
        hide_env_values = true,
        default_value = "text"
    )]
    #[arg(value_parser = ["text", "json"], hide_possible_values = true)]
    log_format: String,
}

/// Runs until told to stop.
pub(crate) async fn run(args: Args, inherited: Inherited) -> anyhow::Result<ExitCode> {
    dispatch_server::log_to_stderr(match args.log_format.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    });
    let settings = Settings {
        file: args.config,
        overrides: Overrides {
            data: args.data,
            host: args.host,
            port: args.port,
            gateway_port: args.gateway_port,
            gateway_tls_port: args.gateway_tls_port,
            gateway_tls_cert: args.gateway_tls_cert,
            gateway_tls_key: args.gateway_tls_key,
            gateway_tls_folder: args.gateway_tls_folder,
            gateway_url: args.gateway_url,
            secret_key_file: args.secret_key_file,
            secret_key: secret_key(),
            journal_chain: args.journal_chain.then_some(true),
            insecure_no_auth: args.insecure_no_auth.then_some(true),
            plugins: args.plugins,
            quickstart: args.quickstart.then_some(true),
            sandbox: args.sandbox,
            fetch_from: args.fetch_from,
            function_network: args.function_network.then_some(true),
            drain: args.drain_timeout,
        },
    };
    // What was not finished is in the log; the next start goes on with it.
    Ok(match dispatch_server::run(settings, inherited).await? {
        Exit::Drained | Exit::OutOfTime => ExitCode::SUCCESS,
        Exit::AtOnce(signal) => ExitCode::from(128 + signal),
    })
}

/// The key of the secrets, if the environment gives it; never an argument, which everybody on the machine sees.
fn secret_key() -> Option<SecretKey> {
    let text = std::env::var("DISPATCH_SERVER_SECRET_KEY").ok();
    text.filter(|text| !text.is_empty())
        .map(|text| SecretKey(text.into()))
}

/// The sockets a supervisor handed over, for a hub; to be taken before there are threads.
pub(crate) fn inherited() -> anyhow::Result<Inherited> {
    dispatch_server::inherited_listeners()
        .context("the socket that was handed over (LISTEN_FDS) cannot be used")
}
