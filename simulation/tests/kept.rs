//! Seeds that failed once, by what they found.
#![allow(missing_docs)] // test code

use dispatch_simulation::run;

fn hold(seed: u64) {
    if let Err(failure) = run(seed) {
        panic!("{failure:?}");
    }
}

#[test]
fn seed_39_a_batch_was_refused_after_its_segment_got_its_name() {
    hold(39);
}

#[test]
fn seed_59_a_name_the_process_before_could_not_make_durable_was_believed() {
    hold(59);
}
