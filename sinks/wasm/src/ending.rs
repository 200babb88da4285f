//! What the end of a program means: its answer, its fault, its deadline or its bounds. Pure.
//!
//! Spent fuel is the program's fault, a `FunctionError`: the same call spends as much on any machine and at any time. It is no
//! timeout, for a clock has no part in it; and no `SystemError` as memory is, of which the machine may have too little.

use wasmtime::{Trap, WasmBacktrace};
use wasmtime_wasi::I32Exit;

use crate::answer::Answer;
use crate::function::Limits;
use crate::memory::OutOfMemory;

/// Frames of a stack that are told.
const FRAMES: usize = 20;

/// How a program ended.
pub(crate) struct Ending {
    pub(crate) ended: wasmtime::Result<Result<(), ()>>,
    /// Of its standard error.
    pub(crate) last_lines: Vec<String>,
    /// Whether it was about to answer with more than a result may have.
    pub(crate) too_long: bool,
}

/// `said` is what it answered, if it ended well.
pub(crate) fn answer(ending: Ending, limits: Limits, said: impl FnOnce() -> Answer) -> Answer {
    let Ending {
        ended,
        last_lines,
        too_long,
    } = ending;
    if too_long {
        return Answer::too_long(&format!("more than {}", limits.result), limits.result);
    }
    let code = match &ended {
        Ok(Ok(())) => 0,
        Ok(Err(())) => 1,
        Err(error) => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => *code,
            None => return stopped(error, last_lines, limits),
        },
    };
    match code {
        0 => said(),
        code => Answer::failed(
            explained(&format!("the program failed (exit status: {code})"), &last_lines),
            last_lines,
        ),
    }
}

/// It did not end by itself.
fn stopped(error: &wasmtime::Error, last_lines: Vec<String>, limits: Limits) -> Answer {
    if let Some(out_of_memory) = error.downcast_ref::<OutOfMemory>() {
        return Answer::ended(format!("the program was ended during the call: {out_of_memory}"));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => Answer::TimedOut,
        Some(Trap::OutOfFuel) => {
            let units = limits.fuel.unwrap_or_default();
            let text = format!("the program was ended during the call: it spent its {units} units of fuel");
            Answer::failed(text, frames(error))
        }
        Some(trap) => {
            let trap = trap.to_string();
            let trap = trap.strip_prefix("wasm trap: ").unwrap_or(&trap);
            let text = explained(&format!("the program trapped ({trap})"), &last_lines);
            Answer::failed(text, frames(error))
        }
        None => Answer::failed(
            explained(&format!("the program was stopped ({:#})", error), &last_lines),
            frames(error),
        ),
    }
}

fn explained(what: &str, last_lines: &[String]) -> String {
    match last_lines.iter().rfind(|line| !line.trim().is_empty()) {
        Some(line) => format!("{what}: {line}"),
        None => what.to_owned(),
    }
}

/// Where it was, innermost last.
fn frames(error: &wasmtime::Error) -> Vec<String> {
    let frames = error
        .downcast_ref::<WasmBacktrace>()
        .map_or(&[][..], WasmBacktrace::frames);
    let name = |frame: &wasmtime::FrameInfo| match frame.func_name() {
        Some(name) => format!("at {name}"),
        None => format!("at function {}", frame.func_index()),
    };
    let mut named: Vec<String> = frames.iter().take(FRAMES).map(name).collect();
    named.reverse();
    named
}
