//! As many seeds as somebody has time for, and one seed with its whole story. Both are asked for by name:
//! `make soak`, `make seed SEED=4711`.
#![allow(missing_docs, clippy::print_stdout)] // test code that talks to whoever started it

use std::time::Instant;

use dispatch_simulation::{run_all, run_with};

/// Seeds between two lines of progress.
const STRETCH: u64 = 1_000;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

#[test]
#[ignore = "as long as you like: make soak"]
fn nothing_is_lost_in_as_many_seeds_as_asked_for() {
    let (from, seeds) = (number("SIMULATION_FROM", 500), number("SIMULATION_SEEDS", 10_000));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let started = Instant::now();
    let mut at = from;
    while at < from + seeds {
        let until = (at + STRETCH).min(from + seeds);
        if let Err(failure) = run_all(at..until, threads) {
            panic!("{failure:?}");
        }
        at = until;
        println!("{} seeds held, {:.0?}", at - from, started.elapsed());
    }
}

#[test]
#[ignore = "one seed: make seed SEED=4711"]
fn one_seed_and_its_story() {
    let seed = number("SEED", 0);
    match run_with(seed, usize::MAX) {
        Ok(held) => println!("seed {seed} held: {held:?}"),
        Err(failure) => panic!("{failure:?}"),
    }
}
