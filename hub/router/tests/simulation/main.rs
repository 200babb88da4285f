//! The machine under random schedules: events, answers, crashes, full queues, a log that fails, changed
//! subscriptions. Whatever happens, nothing is lost, nothing is settled twice in one life, and every bound
//! holds at every step.
#![allow(clippy::unwrap_used)] // test code

mod checks;
#[path = "../memory_log/mod.rs"]
mod memory_log;
mod steps;
mod world;

use std::time::Duration;

use dispatch_contract::{Event, Log as _};
use proptest::prelude::*;
use steps::{LANES, Note, ORGANIZATIONS, Reply, filters, step};
use world::World;

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn every_event_is_settled_once_per_subscription_whatever_happens(
        filter_of in proptest::collection::vec(0..filters().len(), LANES),
        steps in proptest::collection::vec(step(), 1..250),
    ) {
        let mut world = World::new(&filter_of);
        world.poll();

        for step in steps {
            world.take(step);
            world.check_floor();
        }
        world.come_to_rest();

        world.check_end();
        world.check_floor();
    }
}

#[test]
fn a_router_at_rest_writes_nothing() {
    let mut world = World::new(&[1, 1, 1, 1, 1]);
    world.append(0, 0, None, 3, None);
    world.come_to_rest();
    let written = world.log.head();

    world.now += Duration::from_secs(3600);
    world.come_to_rest();

    assert_eq!(world.log.head(), written);
    assert!(world.machine.floor() >= 3);
}

#[test]
fn an_ended_delivery_counts_until_the_log_has_written_it() {
    let mut world = World::new(&[1, 0, 0, 0, 0]);
    world.append(0, 0, None, 10, None);
    world.follow(10);
    let mut seen = Vec::new();

    for _ in 0..20 {
        world.poll();
        seen.extend(world.in_flight.iter().map(|(_, delivery)| delivery.sequence));
        world.answer(0, Reply::Accept);
        world.poll();
        world.note(Note::Taken);
    }

    assert_eq!(seen, [1, 2], "one attempt at once, so two may be repeated");
    assert!(world.hastened > 0, "it waits, and says so");
    world.come_to_rest();
    world.check_end();
}

#[test]
fn the_floor_waits_until_the_log_has_written_what_it_was_told() {
    let mut world = World::new(&[1, 0, 0, 0, 0]);
    world.append(0, 0, None, 1, None);
    world.follow(1);
    world.poll();
    world.answer(0, Reply::Accept);
    world.now += Duration::from_secs(2);
    for _ in 0..3 {
        world.poll();
        world.note(Note::Taken);
    }
    assert_eq!(world.log.head(), 7, "the settlement and a mark of each");

    assert_eq!(world.machine.floor(), 0);
    world.follow(10);

    assert_eq!(world.machine.floor(), 1);
}

#[test]
fn first_attempts_are_made_in_the_order_of_the_log() {
    let mut world = World::new(&[1, 0, 0, 0, 0]);
    let mut seen = Vec::new();

    world.append(0, 0, None, 40, None);
    for _ in 0..1000 {
        world.poll();
        world.follow(3);
        world.read(0, 5, false);
        world.note(Note::Taken);
        seen.extend(world.in_flight.iter().map(|(_, delivery)| delivery.sequence));
        world.answer(0, Reply::Accept);
    }

    assert_eq!(seen, (1..=40).collect::<Vec<_>>());
}

#[test]
fn what_was_settled_is_not_tried_again_after_a_restart_from_an_older_head() {
    let mut world = World::new(&[1, 0, 0, 0, 0]);
    world.append(0, 0, None, 10, None);
    world.come_to_rest();
    world.append(0, 0, None, 2, None);

    world.crash(0, 100);
    world.come_to_rest();

    world.check_end();
    let times = world.log.settlements(world.subscriptions[&0].0.id).len();
    assert_eq!(times, 12);
}

#[test]
fn a_lane_without_room_for_the_next_event_does_not_read_it_again_and_again() {
    let mut world = World::new(&[1, 0, 0, 0, 0]);
    let sized = |id: &str, bytes: usize| {
        Event::builder(id, "/sim", "a.one").json(format!("\"{}\"", "x".repeat(bytes)))
    };
    for (id, bytes) in [("waits", 10), ("large", 550)] {
        let event = sized(id, bytes).build().unwrap();
        world.log.append_to(ORGANIZATIONS[0], event, None);
    }
    world.poll();
    world.follow(2);
    world.poll();
    world.answer(0, Reply::Release);
    world.poll();
    world.read(0, 5, false);

    world.poll();
    assert!(
        world.reads.is_empty(),
        "there is no room before the other event is settled"
    );

    world.come_to_rest();
    world.check_end();
}
