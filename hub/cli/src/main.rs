//! The `dispatch` command: the hub, and what one says to a hub.
//!
//! Read `args` first (what can be said), then the file of a command in `commands`. Everything that is
//! printed goes through `out`; every failure ends with exit code 1.

mod application;
mod args;
mod client;
mod commands;
mod config;
mod document;
mod editor;
mod filter;
mod names;
mod out;
mod output;
mod program;
mod resource;
mod shape;
mod source;
mod stream;
mod table;
mod time;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;

use args::{Cli, Command};
use commands::Session;
use commands::supervise::Told;

/// How long tasks that were cut off may take to let go of what they hold.
const LAST_TASKS: Duration = Duration::from_millis(500);

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(usage) => return explained(&usage),
    };
    // Before there are threads: it reads and changes the environment.
    let inherited = match &cli.command {
        Command::Server(_) => commands::server::inherited(),
        _ => Ok(dispatch_server::Inherited::default()),
    };
    let started = inherited.and_then(|inherited| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        Ok((inherited, runtime.context("cannot start")?))
    });
    let ended = started.and_then(|(inherited, runtime)| {
        let ended = runtime.block_on(run(cli, inherited));
        runtime.shutdown_timeout(LAST_TASKS);
        ended
    });
    match ended {
        Ok(code) => code,
        Err(error) if out::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            out::note(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli, inherited: dispatch_server::Inherited) -> anyhow::Result<ExitCode> {
    let global = &cli.global;
    let done = match cli.command {
        Command::Server(args) => return commands::server::run(args, inherited).await,
        Command::Create(args) => commands::create::run(args, Session::open(global)).await,
        Command::Get(args) => commands::get::run(args, &Session::open(global)?).await,
        Command::Update(args) => commands::update::run(args, &Session::open(global)?).await,
        Command::Apply(args) => commands::apply::run(args, Session::open(global)).await,
        Command::Edit(args) => commands::edit::run(args, &Session::open(global)?).await,
        Command::Log(args) => commands::log::run(args, &Session::open(global)?).await,
        Command::Dev(args) => return commands::dev::run(*args).await,
        Command::Delete(args) => commands::delete::run(args, Session::open(global)).await,
        Command::Pause(args) => commands::supervise::run(Told::Pause, args, &Session::open(global)?).await,
        Command::Resume(args) => commands::supervise::run(Told::Resume, args, &Session::open(global)?).await,
        Command::Restart(args) => {
            commands::supervise::run(Told::Restart, args, &Session::open(global)?).await
        }
        Command::Exec(args) => commands::exec::run(args, &Session::open(global)?).await,
        Command::Rerun(args) => commands::rerun::run(args, &Session::open(global)?).await,
        Command::Cancel(args) => commands::cancel::run(args, &Session::open(global)?).await,
        Command::Emit(args) => commands::emit::run(args, &Session::open(global)?).await,
        Command::Unpark(args) => commands::unpark::run(args, &Session::open(global)?).await,
        Command::Replay(args) => commands::replay::run(args, &Session::open(global)?).await,
        Command::Redrive(args) => commands::redrive::run(args, &Session::open(global)?).await,
        Command::RotateKey => commands::rotate_key::run(&Session::open(global)?).await,
        Command::Version(args) => commands::version::run(args, &Session::open(global)?).await,
        Command::Context(args) => commands::context::run(args, global),
        Command::Driver(args) => return commands::driver::run(args, global.format()?).await,
        Command::Cron(args) => commands::cron::run(args),
        Command::Journal(args) => commands::journal::run(args, global.format()?),
        Command::Backup(args) => commands::backup::backup(&args, global.format()?),
        Command::Restore(args) => commands::backup::restore(&args, global.format()?),
        Command::Completion(args) => commands::completion::run(args),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// Help and version are answers; anything else wrong with the command line is a failure like any other.
fn explained(usage: &clap::Error) -> ExitCode {
    let printed = usage.print();
    if usage.use_stderr() || printed.is_err() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
