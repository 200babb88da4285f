//! A failure is worth nothing if it cannot be seen again: the same seed is the same run.
#![allow(missing_docs)] // test code

use dispatch_simulation::{run, story};

#[test]
fn the_same_seed_goes_the_same_way_to_the_last_line() {
    for seed in 0..12 {
        let (first, second) = (story(seed), story(seed));

        let parted = first.iter().zip(&second).find(|(one, other)| one != other);
        assert_eq!(parted, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

#[test]
fn seeds_go_different_ways_and_all_of_them_do_something() {
    let held: Vec<_> = (0..12).map(|seed| run(seed).unwrap()).collect();

    for (n, one) in held.iter().enumerate() {
        assert!(one.lives >= 3 && one.events > 0, "seed {n}: {one:?}");
        assert!(held[n + 1..].iter().all(|other| other.number != one.number));
    }
}
