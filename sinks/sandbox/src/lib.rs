//! Contains the processes of functions, with what the machine has: bubblewrap, Landlock, seccomp, cgroups, an own
//! user and resource limits.
//!
//! ```text
//! hub: Sandbox (what there is) -> Cage (one worker's cgroup, user, scratch folder) -> command
//! command: dispatch-sandbox --policy JSON -- PROGRAM…: joins the cgroups, goes through bubblewrap, applies the
//!          rest to itself and becomes PROGRAM
//! ```
//! Invariants: what a policy says is in force when PROGRAM runs, or PROGRAM does not run; nothing is attempted that
//! the machine did not show at the start that it has ([`Protections`]); whoever ends a [`Cage`] ends every process
//! in it, also those that left their process group.
//!
//! Not here: which function may do what (the hub's configuration), and what runs inside. Read `policy.rs` for what is
//! agreed between the two sides, `cage.rs` for the hub's side and `inside/` for the executable's.

mod cage;
mod cgroup;
mod machine;
mod places;
mod policy;
mod protections;
mod sandbox;

pub use cage::Cage;
pub use machine::Machine;
pub use places::{bubblewrap, executable, executable_named};
pub use policy::{Network, Policy, Resources, Scratch};
pub use protections::{Missing, Protections};
pub use sandbox::{Sandbox, Wanted};

/// The executable's name.
pub const EXECUTABLE: &str = "dispatch-sandbox";
