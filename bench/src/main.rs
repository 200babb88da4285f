//! The load generator: posts CloudEvents to any hub, receives what the hub delivers, and says how fast.
//!
//! `run` measures one row of a load, `call` one of a function's worker without a hub, `start` and `idle` one of a life
//! without load; `floor` is the limit to compare a hub with and `nats-bridge` makes a peer of NATS; `port` finds a free
//! port for a script; `record` puts the rows of a case into one result and `table` prints it. The send time travels in the
//! id of each event, so a delivery needs no look-up to know its latency. Read `load` first (the producers), then `receive`
//! (the target).

mod alarm;
mod call;
mod commit;
mod door;
mod event;
mod floor;
mod forward;
mod idle;
mod load;
mod machine;
mod nats;
mod process;
mod receive;
mod record;
mod rounds;
mod route;
mod row;
mod sample;
mod slow;
mod start;
mod table;
mod target;
mod wire;

use std::io::Write as _;

use clap::Parser;

#[derive(Parser)]
#[command(about = "Measures a hub, or any HTTP target, with CloudEvents")]
enum Command {
    /// Post events, receive deliveries, write one row of figures
    Run(Box<row::Args>),
    /// Call a function's worker with nothing in between
    Call(call::Args),
    /// Be a server that syncs each body, answers and posts it on, and nothing else
    Floor(floor::Args),
    /// Be a bridge between HTTP and NATS JetStream, to compare with
    NatsBridge(nats::Args),
    /// Be one axum route that answers with what it gets
    Route(route::Args),
    /// Be a target that takes its time
    Slow(slow::Args),
    /// Start a hub, write how long it takes to its first acknowledgement
    Start(start::Args),
    /// Write what a process uses when nobody asks for anything
    Idle(idle::Args),
    /// Put rows into one result
    Record(record::Args),
    /// Print results as Markdown
    Table(table::Args),
    /// Print a free port
    Port,
}

fn main() -> anyhow::Result<()> {
    let command = Command::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    match command {
        Command::Run(args) => runtime.block_on(row::run(*args)),
        Command::Call(args) => runtime.block_on(call::run(args)),
        Command::Floor(args) => runtime.block_on(floor::run(args)),
        Command::NatsBridge(args) => runtime.block_on(nats::run(args)),
        Command::Route(args) => runtime.block_on(route::run(args)),
        Command::Slow(args) => runtime.block_on(slow::run(args)),
        Command::Start(args) => runtime.block_on(start::run(args)),
        Command::Idle(args) => runtime.block_on(idle::run(args)),
        Command::Record(args) => record::run(&args),
        Command::Table(args) => table::run(&args),
        Command::Port => {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
            Ok(())
        }
    }
}
