//! The hub's engine in a world of chance: the real journal and the real router in one thread, on a simulated disk, clock
//! and sinks, everything decided by one seed.
//!
//! A run is some lives of the hub, each ended in the middle of something or by a stop, while producers post, sinks take
//! their time, the configuration changes and the disk fails. Then everything heals, and what was promised is checked:
//! every acknowledged event delivered or dead-lettered, nothing invented, nothing settled twice. The same seed gives the
//! same run, to the last line of its story.
//!
//! [`run()`] runs a seed. `world.rs` has the lives, `life.rs` one of them, `checks.rs` what must hold. For tests only; see
//! `docs/simulation.md`.

mod checks;
mod clock;
mod dice;
mod disk;
mod events;
mod follower;
mod life;
mod plan;
mod producers;
mod published;
mod run;
mod sinks;
mod slow_log;
mod store;
mod trace;
mod witness;
mod world;

pub use run::{Failure, run, run_all, run_with, story};
pub use world::Held;
