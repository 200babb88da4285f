//! `dispatch server`: runs a hub.

use std::path::PathBuf;

use clap::builder::BoolishValueParser;
use dispatch_server::{LogFormat, Overrides, ServerConfig};

use crate::out;

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
    /// Port of the API gateway [default: 8081]
    #[arg(
        long,
        value_name = "PORT",
        env = "DISPATCH_SERVER_GATEWAY_PORT",
        hide_env_values = true
    )]
    gateway_port: Option<u16>,
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
    /// Listen where others can reach it, although nobody has to say who they are
    #[arg(long, env = "DISPATCH_SERVER_INSECURE_NO_AUTH", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    insecure_no_auth: bool,
    /// Begin with an example, and print every run
    #[arg(long, env = "DISPATCH_SERVER_QUICKSTART", hide_env_values = true)]
    #[arg(value_parser = BoolishValueParser::new())]
    quickstart: bool,
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
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    dispatch_server::log_to_stderr(match args.log_format.as_str() {
        "json" => LogFormat::Json,
        _ => LogFormat::Text,
    });
    let config = match &args.config {
        Some(file) => ServerConfig::from_file(file)?,
        None => ServerConfig::default(),
    };
    let config = config.with(Overrides {
        data: args.data,
        host: args.host,
        port: args.port,
        gateway_port: args.gateway_port,
        insecure_no_auth: args.insecure_no_auth.then_some(true),
        plugins: args.plugins,
        quickstart: args.quickstart.then_some(true),
    });
    match dispatch_server::run(config).await? {
        dispatch_server::Exit::Drained => {}
        dispatch_server::Exit::OutOfTime => {
            out::note("stopped before all deliveries under way had ended; the next start goes on with them");
        }
    }
    Ok(())
}
