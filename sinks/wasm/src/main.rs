//! `dispatch-wasm --memory MEBIBYTES SOCKET`: runs one function that is WebAssembly, for the hub's process engine.
//!
//! ```text
//! engine: frames on SOCKET -> Link -> Call -> Function: a new instance, the function message on its standard input
//!                                  <- Answer <- what it wrote to standard output, how it ended
//! ```
//! The file is compiled once, when it is loaded. Invariants: no memory, no global and no descriptor outlives a call; an
//! instance has three pipes, clocks and random numbers, and neither files, network, environment nor arguments; it
//! has the memory it is allowed and no more, and ends at its deadline.
//!
//! Not here: what a module may do beyond its instance. The engine contains this process like any other worker.

mod answer;
mod call;
mod deadline;
mod ending;
mod function;
mod link;
mod memory;
mod output;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::answer::Answer;
use crate::call::{Call, Order};
use crate::function::{Function, Limits};
use crate::link::Link;
use crate::memory::Mebibytes;

const USAGE: &str = "usage: dispatch-wasm --memory MEBIBYTES SOCKET, or dispatch-wasm --version";

/// What the command line asks for.
enum Wanted {
    Version,
    Serve { memory: Mebibytes, socket: PathBuf },
}

fn main() -> ExitCode {
    match wanted(std::env::args_os().skip(1).collect()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write as _;
            // Nobody reads standard error: then the code alone tells.
            writeln!(std::io::stderr(), "dispatch-wasm: {error:#}").unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn wanted(arguments: Vec<OsString>) -> anyhow::Result<Wanted> {
    match arguments.as_slice() {
        [only] if only == "--version" => Ok(Wanted::Version),
        [flag, memory, socket] if flag == "--memory" => {
            let memory = memory.to_str().and_then(|text| text.parse().ok());
            Ok(Wanted::Serve {
                memory: Mebibytes(memory.context("--memory: say a whole number of mebibytes")?),
                socket: socket.into(),
            })
        }
        _ => bail!(USAGE),
    }
}

fn run(wanted: Wanted) -> anyhow::Result<()> {
    match wanted {
        Wanted::Version => {
            use std::io::Write as _;
            writeln!(std::io::stdout(), "dispatch-wasm {}", env!("CARGO_PKG_VERSION"))?;
            Ok(())
        }
        Wanted::Serve { memory, socket } => {
            let link = Link::connect(&socket).with_context(|| format!("{}", socket.display()))?;
            serve(link, memory)
        }
    }
}

/// Loads the function it is told, then answers calls until the engine hangs up.
fn serve(mut link: Link, memory: Mebibytes) -> anyhow::Result<()> {
    let Some(frame) = link.read()? else { return Ok(()) };
    let order = Order::from_json(&frame).context("the order to load a function")?;
    let limits = Limits {
        memory,
        result: order.max_result,
    };
    let function = match Function::load(&order.folder, &order.handler, limits) {
        Ok(function) => function,
        Err(error) => return Ok(link.write(&answer::refused(&error))?),
    };
    link.write(answer::LOADED)?;
    while let Some(frame) = link.read()? {
        let answer = match Call::from_json(&frame) {
            Ok(call) => function.call(call),
            Err(error) => Answer::bad_input(&error),
        };
        link.write(&answer.to_json())?;
    }
    Ok(())
}
