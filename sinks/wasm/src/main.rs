//! `dispatch-wasm --memory MEBIBYTES [--fuel UNITS] SOCKET`: runs one function that is WebAssembly, for the hub's process engine.
//!
//! ```text
//! engine: frames on SOCKET -> Link -> Call -> Function: a new instance, the function message on its standard input
//!                                  <- Answer <- what it wrote to standard output, how it ended
//!                                     the same with a request and a response, where it is an HTTP handler
//! ```
//! The file is compiled once, when it is loaded. Invariants: no memory, no global and no descriptor outlives a call; an
//! instance has three pipes, clocks and random numbers, and neither files, network, environment nor arguments; it
//! has the memory it is allowed and no more, and ends at its deadline or when its fuel is spent.
//!
//! Not here: what a module may do beyond its instance. The engine contains this process like any other worker.

mod answer;
mod call;
mod deadline;
mod ending;
mod function;
mod guest;
mod link;
mod memory;
mod output;
mod web;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::answer::Answer;
use crate::call::{Call, Order};
use crate::function::{Function, Limits};
use crate::link::Link;
use crate::memory::Mebibytes;

const USAGE: &str =
    "usage: dispatch-wasm --memory MEBIBYTES [--fuel UNITS] SOCKET, or dispatch-wasm --version";

/// What the command line asks for.
enum Wanted {
    Version,
    Serve {
        memory: Mebibytes,
        fuel: Option<u64>,
        socket: PathBuf,
    },
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
    let number = |text: &OsString| text.to_str().and_then(|text| text.parse().ok());
    let (memory, fuel, socket) = match arguments.as_slice() {
        [only] if only == "--version" => return Ok(Wanted::Version),
        [first, memory, socket] if first == "--memory" => (memory, None, socket),
        [first, memory, second, fuel, socket] if first == "--memory" && second == "--fuel" => {
            let units = number(fuel).context("--fuel: say a whole number of units")?;
            (memory, Some(units), socket)
        }
        _ => bail!(USAGE),
    };
    Ok(Wanted::Serve {
        memory: Mebibytes(number(memory).context("--memory: say a whole number of mebibytes")?),
        fuel,
        socket: socket.into(),
    })
}

fn run(wanted: Wanted) -> anyhow::Result<()> {
    match wanted {
        Wanted::Version => {
            use std::io::Write as _;
            writeln!(std::io::stdout(), "dispatch-wasm {}", env!("CARGO_PKG_VERSION"))?;
            Ok(())
        }
        Wanted::Serve { memory, fuel, socket } => {
            let link = Link::connect(&socket).with_context(|| format!("{}", socket.display()))?;
            serve(link, memory, fuel)
        }
    }
}

/// Loads the function it is told, then answers calls until the engine hangs up.
fn serve(mut link: Link, memory: Mebibytes, fuel: Option<u64>) -> anyhow::Result<()> {
    let Some(frame) = link.read()? else { return Ok(()) };
    let order = Order::from_json(&frame).context("the order to load a function")?;
    let limits = Limits {
        memory,
        fuel,
        result: order.max_result,
    };
    let function = match Function::load(&order.folder, &order.handler, limits) {
        Ok(function) => function,
        Err(error) => return Ok(link.write(&answer::refused(&error))?),
    };
    link.write(match function.is_handler() {
        true => answer::LOADED_HANDLER,
        false => answer::LOADED,
    })?;
    while let Some(frame) = link.read()? {
        let answer = match Call::from_json(&frame) {
            Ok(call) => function.call(call),
            Err(error) => Answer::bad_input(&error),
        };
        link.write(&answer.to_json())?;
    }
    Ok(())
}
