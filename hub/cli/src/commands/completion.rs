//! `dispatch completion`: what makes a shell complete these commands.

use clap::{CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use crate::args::Cli;
use crate::out;

/// For which shell.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// bash, zsh or fish
    shell: Known,
}

#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

/// Prints the script.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "dispatch", &mut script);
    Ok(out::text(&String::from_utf8(script)?)?)
}
