//! A function's file, compiled and checked once, and started anew for each call.
//!
//! Three kinds of file: a module that speaks WASI preview 1 and exports `_start`, and a component that exports
//! `wasi:cli/run`, are commands: they read the function message from standard input, write their answer to standard
//! output, and end. A component that exports `wasi:http/incoming-handler` answers requests (`web.rs`).

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use http::Request;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, ExternType, InstancePre, Module, ResourcesRequired, Store};
use wasmtime_wasi::p1::{self, WasiP1Ctx};
use wasmtime_wasi::p2::bindings::sync::CommandPre;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{WasiCtxBuilder, p2};
use wasmtime_wasi_http::p2::add_only_http_to_linker_sync;
use wasmtime_wasi_http::p2::bindings::sync::ProxyPre;

use crate::answer::Answer;
use crate::call::{Asked, Call, CallError};
use crate::deadline::{EPOCHS, Watchdog};
use crate::ending::{self, Ending};
use crate::guest::Guest;
use crate::memory::{Budget, Mebibytes};
use crate::output::{Log, Output, Said};
use crate::web::{self, Heard};

/// What an answer may have beside its result.
const ENVELOPE: usize = 128 * 1024;
/// Every file begins with it; then come a version and what the file is.
const MAGIC: &[u8] = b"\0asm";
const MODULE: [u8; 2] = [0, 0];
const COMPONENT: [u8; 2] = [1, 0];
/// Of WebAssembly, in a mebibyte.
const PAGES: u64 = 16;
const START: &str = "_start";

/// Why a function cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error("{0}: {1}")]
    Unreadable(String, std::io::Error),
    #[error("{0} is no WebAssembly: it does not begin with \\0asm")]
    NotWasm(String),
    #[error("{0} is WebAssembly as text: compile it (wat2wasm)")]
    Text(String),
    #[error("{0} is no WebAssembly that can be run here: {1}")]
    NotCompiled(String, String),
    #[error("{0} exports no function `_start`: build a command, with a main function, for WASI")]
    NoStart(String),
    #[error(
        "{0} exports no `wasi:cli/run` and no `wasi:http/incoming-handler`: \
         build a command, with a main function, or an HTTP handler ({1})"
    )]
    NoRun(String, String),
    #[error("{0} imports what is not there: {1}; there is WASI, preview 1 for modules, 0.2 for components")]
    Imports(String, String),
    #[error("{0} begins with {1} of memory and may have {2}")]
    Memory(String, Mebibytes, Mebibytes),
    #[error("cannot prepare to run functions: {0}")]
    Here(String),
}

/// What one call may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) memory: Mebibytes,
    /// Units; they are not counted when absent.
    pub(crate) fuel: Option<u64>,
    /// Bytes of a result.
    pub(crate) result: usize,
}

/// A function that is ready to be called.
pub(crate) struct Function {
    engine: Engine,
    program: Program,
    name: String,
    limits: Limits,
    watchdog: Watchdog,
}

enum Program {
    Command(Command),
    Handler(ProxyPre<Guest>),
}

enum Command {
    Module(InstancePre<Guest>),
    Component(CommandPre<Guest>),
}

impl Function {
    /// Compiles the file.
    pub(crate) fn load(folder: &Path, file: &str, limits: Limits) -> Result<Self, LoadError> {
        let bytes =
            std::fs::read(folder.join(file)).map_err(|e| LoadError::Unreadable(file.to_owned(), e))?;
        let here = |error: &dyn std::fmt::Display| LoadError::Here(format!("{error:#}"));
        let mut config = Config::new();
        config.epoch_interruption(true);
        // Counting costs at every block of a program: only where it is asked for.
        config.consume_fuel(limits.fuel.is_some());
        let engine = Engine::new(&config).map_err(|e| here(&e))?;
        let program = match kind_of(&bytes) {
            Some(MODULE) => Program::Command(Command::Module(module(&engine, file, &bytes, limits.memory)?)),
            Some(COMPONENT) => component(&engine, file, &bytes, limits.memory)?,
            _ if bytes.trim_ascii_start().starts_with(b"(") => return Err(LoadError::Text(file.to_owned())),
            _ => return Err(LoadError::NotWasm(file.to_owned())),
        };
        let watchdog = Watchdog::start(engine.clone()).map_err(|e| here(&e))?;
        Ok(Self {
            engine,
            program,
            name: file.to_owned(),
            limits,
            watchdog,
        })
    }

    /// Whether it answers HTTP requests.
    pub(crate) fn is_handler(&self) -> bool {
        matches!(self.program, Program::Handler(_))
    }

    /// Runs the program once.
    pub(crate) fn call(&self, call: Call) -> Answer {
        let deadline = Instant::now() + call.left;
        match (&self.program, call.asked) {
            (Program::Command(command), Asked::Message(message)) => self.run(command, message, deadline),
            (Program::Handler(handler), Asked::Request(request)) => self.ask(handler, *request, deadline),
            (Program::Command(_), Asked::Request(_)) => Answer::bad_input(&CallError::NoHandler),
            (Program::Handler(_), Asked::Message(_)) => Answer::bad_input(&CallError::NoCommand),
        }
    }

    fn run(&self, command: &Command, message: Vec<u8>, deadline: Instant) -> Answer {
        let stdout = Output::new(Said::up_to(self.limits.result + ENVELOPE));
        let stderr = Output::new(Log::default());
        let wasi = WasiCtxBuilder::new()
            .arg(&self.name)
            .stdin(MemoryInputPipe::new(message))
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .build_p1();
        let ended = self.within(deadline, wasi, &stderr, |store| command.run(store));
        let said = stdout.lock();
        let ending = Ending {
            ended,
            last_lines: stderr.lock().last_lines(),
            too_long: said.too_long,
        };
        ending::answer(ending, self.limits, || {
            Answer::said(&said.text, self.limits.result)
        })
    }

    fn ask(&self, handler: &ProxyPre<Guest>, request: Request<Bytes>, deadline: Instant) -> Answer {
        let log = Output::new(Log::default());
        let wasi = WasiCtxBuilder::new()
            .arg(&self.name)
            .stdout(log.clone())
            .stderr(log.clone())
            .build_p1();
        let (outlet, collecting) = web::collect(self.limits.result);
        let ended = self.within(deadline, wasi, &log, |store| {
            web::ask(handler, store, request, outlet)
        });
        let heard = collecting.wait();
        let ending = Ending {
            ended: ended.map(Ok),
            last_lines: log.lock().last_lines(),
            too_long: matches!(heard, Heard::TooLong),
        };
        ending::answer(ending, self.limits, || heard.answer(self.limits.result))
    }

    /// Does this with a new store, which has what a call may use and is gone afterwards.
    fn within<T>(
        &self,
        deadline: Instant,
        wasi: WasiP1Ctx,
        log: &Output<Log>,
        work: impl FnOnce(&mut Store<Guest>) -> wasmtime::Result<T>,
    ) -> wasmtime::Result<T> {
        let guest = Guest::new(wasi, Budget::new(self.limits.memory), log.clone());
        let mut store = Store::new(&self.engine, guest);
        store.limiter(|guest| &mut guest.budget);
        store.set_epoch_deadline(EPOCHS);
        if let Some(units) = self.limits.fuel {
            store.set_fuel(units)?;
        }
        let _watched = self.watchdog.watch(deadline);
        work(&mut store)
    }
}

impl Command {
    /// `Ok(Err(()))` is how a component says that it failed.
    fn run(&self, store: &mut Store<Guest>) -> wasmtime::Result<Result<(), ()>> {
        match self {
            Self::Module(module) => {
                let instance = module.instantiate(&mut *store)?;
                let start = instance.get_typed_func::<(), ()>(&mut *store, START)?;
                start.call(store, ()).map(Ok)
            }
            Self::Component(component) => {
                let command = component.instantiate(&mut *store)?;
                command.wasi_cli_run().call_run(store)
            }
        }
    }
}

/// What follows magic and version.
fn kind_of(bytes: &[u8]) -> Option<[u8; 2]> {
    let rest = bytes.strip_prefix(MAGIC)?;
    rest.get(2..4)?.try_into().ok()
}

fn module(
    engine: &Engine,
    file: &str,
    bytes: &[u8],
    memory: Mebibytes,
) -> Result<InstancePre<Guest>, LoadError> {
    let here = |error: wasmtime::Error| LoadError::Here(format!("{error:#}"));
    let module = Module::new(engine, bytes)
        .map_err(|error| LoadError::NotCompiled(file.to_owned(), format!("{error:#}")))?;
    let is_start = |ty: ExternType| {
        ty.func()
            .is_some_and(|ty| ty.params().len() + ty.results().len() == 0)
    };
    if !module.get_export(START).is_some_and(is_start) {
        return Err(LoadError::NoStart(file.to_owned()));
    }
    fits(file, Some(module.resources_required()), memory)?;
    let mut linker = wasmtime::Linker::new(engine);
    p1::add_to_linker_sync(&mut linker, |guest: &mut Guest| &mut guest.wasi).map_err(here)?;
    let unknown = unknown_imports(engine, &linker, &module);
    if !unknown.is_empty() {
        return Err(LoadError::Imports(file.to_owned(), unknown.join(", ")));
    }
    linker
        .instantiate_pre(&module)
        .map_err(|error| LoadError::Imports(file.to_owned(), format!("{error:#}")))
}

fn unknown_imports(engine: &Engine, linker: &wasmtime::Linker<Guest>, module: &Module) -> Vec<String> {
    let wasi = WasiCtxBuilder::new().build_p1();
    let guest = Guest::new(wasi, Budget::new(Mebibytes(0)), Output::new(Log::default()));
    let mut store = Store::new(engine, guest);
    module
        .imports()
        .filter(|import| linker.get_by_import(&mut store, import).is_none())
        .map(|import| format!("{}.{}", import.module(), import.name()))
        .collect()
}

/// What can be known before there is an instance: whether its largest memory fits.
fn fits(file: &str, needed: Option<ResourcesRequired>, memory: Mebibytes) -> Result<(), LoadError> {
    let pages = needed.and_then(|needed| needed.max_initial_memory_size);
    match pages.unwrap_or(0).div_ceil(PAGES) {
        needed if needed > memory.0 => Err(LoadError::Memory(file.to_owned(), Mebibytes(needed), memory)),
        _ => Ok(()),
    }
}

fn component(engine: &Engine, file: &str, bytes: &[u8], memory: Mebibytes) -> Result<Program, LoadError> {
    let here = |error: wasmtime::Error| LoadError::Here(format!("{error:#}"));
    let component = Component::new(engine, bytes)
        .map_err(|error| LoadError::NotCompiled(file.to_owned(), format!("{error:#}")))?;
    fits(file, component.resources_required(), memory)?;
    let mut linker = wasmtime::component::Linker::new(engine);
    p2::add_to_linker_sync(&mut linker).map_err(here)?;
    add_only_http_to_linker_sync(&mut linker).map_err(here)?;
    let instance = linker
        .instantiate_pre(&component)
        .map_err(|error| LoadError::Imports(file.to_owned(), format!("{error:#}")))?;
    if let Ok(handler) = ProxyPre::new(instance.clone()) {
        return Ok(Program::Handler(handler));
    }
    let command =
        CommandPre::new(instance).map_err(|error| LoadError::NoRun(file.to_owned(), format!("{error:#}")))?;
    Ok(Program::Command(Command::Component(command)))
}
