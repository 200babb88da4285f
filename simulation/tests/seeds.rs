//! Five hundred worlds, each its own mixture of crashes, failing disks, moody sinks and changes. Whatever happens,
//! nothing acknowledged is lost, nothing is invented and nothing is settled twice.
//!
//! In parts, so that they run beside one another.
#![allow(missing_docs)] // test code

use dispatch_simulation::run;

const PART: u64 = 50;

fn hold(part: u64) {
    for seed in part * PART..(part + 1) * PART {
        if let Err(failure) = run(seed) {
            panic!("{failure:?}");
        }
    }
}

macro_rules! parts {
    ($($name:ident: $part:literal)*) => {
        $(#[test]
        fn $name() {
            hold($part);
        })*
    };
}

parts! {
    nothing_is_lost_in_seeds_0_to_49: 0
    nothing_is_lost_in_seeds_50_to_99: 1
    nothing_is_lost_in_seeds_100_to_149: 2
    nothing_is_lost_in_seeds_150_to_199: 3
    nothing_is_lost_in_seeds_200_to_249: 4
    nothing_is_lost_in_seeds_250_to_299: 5
    nothing_is_lost_in_seeds_300_to_349: 6
    nothing_is_lost_in_seeds_350_to_399: 7
    nothing_is_lost_in_seeds_400_to_449: 8
    nothing_is_lost_in_seeds_450_to_499: 9
}
