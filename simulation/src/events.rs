//! The events of this world: each is what its source and number say, so that whoever posts it again posts the same.

use dispatch_contract::Event;
use dispatch_router::Filter;

use crate::dice::Dice;

/// Whose events they are.
pub(crate) const ORGANIZATIONS: &[&str] = &["one", "two"];
/// Their types.
pub(crate) const TYPES: &[&str] = &["a.one", "a.two", "b.one", "b.two"];
const KEYS: u64 = 6;

/// The `number`-th event of a source.
///
/// # Panics
/// If the contract has no room for so small an event.
pub(crate) fn event(source: &str, number: u64) -> Event {
    let seed = source.bytes().fold(number, |seed, byte| {
        seed.wrapping_mul(131).wrapping_add(u64::from(byte))
    });
    let mut dice = Dice::new(seed);
    let size = match dice.below(20) {
        0 => dice.between(3_000, 9_000),
        1..=4 => dice.between(300, 1_500),
        _ => dice.below(100),
    };
    let built = Event::builder(format!("{number}"), source, *dice.pick(TYPES))
        .subject(format!("key-{}", dice.below(KEYS)))
        .json(format!("\"{}\"", "x".repeat(size as usize)))
        .build();
    built.unwrap_or_else(|error| panic!("{error}"))
}

/// Any filter.
pub(crate) fn filter(dice: &mut Dice) -> Filter {
    let one = match dice.below(6) {
        0 => return Filter::All(Vec::new()),
        1 | 2 => Filter::exact("type", *dice.pick(TYPES)),
        3 => Filter::prefix("type", "a."),
        4 => Filter::Any(vec![
            Filter::suffix("type", "two"),
            Filter::exact("subject", "key-1"),
        ]),
        _ => Filter::Not(Box::new(Filter::exact("type", *dice.pick(TYPES)))),
    };
    Filter::All(vec![one])
}
