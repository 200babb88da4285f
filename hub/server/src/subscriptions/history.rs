//! The filters of a subscription through time. Pure.
//!
//! A subscription keeps its filters with the first sequence they judge; versions nobody needs any more are dropped
//! with the next change.

use dispatch_contract::Sequence;
use dispatch_schemas::{FiltersFrom, Subscription};

/// The most filter versions of one subscription: so often it can be changed while it is behind.
const MAX_VERSIONS: usize = 100;

/// A new subscription judges what comes after `head`.
pub(super) fn begin(subscription: &mut Subscription, head: Sequence) {
    subscription.history = vec![FiltersFrom {
        from: head + 1,
        filters: subscription.all_filters(),
    }];
}

/// A changed subscription judges what comes after `head` by its new filters, and what came before by its old ones,
/// `before`. Nobody owes anything at or before `floor`. `None`: it was changed too often while it is behind.
pub(super) fn go_on(
    subscription: &mut Subscription,
    before: Vec<FiltersFrom>,
    head: Sequence,
    floor: Sequence,
) -> Option<()> {
    let mut history = before;
    let filters = subscription.all_filters();
    if history.last().is_none_or(|last| last.filters != filters) {
        history.retain(|version| version.from <= head);
        history.push(FiltersFrom {
            from: head + 1,
            filters,
        });
    }
    let needed = history
        .iter()
        .skip(1)
        .take_while(|next| next.from <= floor + 1)
        .count();
    history.drain(..needed);
    subscription.history = history;
    (subscription.history.len() <= MAX_VERSIONS).then_some(())
}

/// Nothing at or before this was ever its own.
pub(super) fn since(subscription: &Subscription) -> Sequence {
    let first = subscription.history.first().map(|version| version.from);
    first.unwrap_or(1).saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subscription(ty: &str) -> Subscription {
        serde_json::from_value(json!({"name": "s", "eventType": ty, "function": "f"})).unwrap()
    }
    fn froms(subscription: &Subscription) -> Vec<u64> {
        subscription.history.iter().map(|version| version.from).collect()
    }

    #[test]
    fn an_event_is_judged_by_the_filters_of_its_time() {
        let mut first = subscription("a");
        begin(&mut first, 10);
        assert_eq!((since(&first), froms(&first)), (10, vec![11]));

        let mut second = subscription("b");
        go_on(&mut second, first.history, 20, 10).unwrap();
        assert_eq!(froms(&second), [11, 21]);

        let mut same = subscription("b");
        go_on(&mut same, second.history.clone(), 30, 15).unwrap();
        assert_eq!(froms(&same), [11, 21], "nothing changed");

        let mut third = subscription("c");
        go_on(&mut third, same.history, 40, 20).unwrap();
        assert_eq!(froms(&third), [21, 41], "what nobody owes any more is dropped");
        assert_eq!(third.history[0].filters, subscription("b").all_filters());
    }

    #[test]
    fn two_changes_without_an_event_between_them_leave_one_version() {
        let mut first = subscription("a");
        begin(&mut first, 10);
        let mut second = subscription("b");
        go_on(&mut second, first.history, 10, 0).unwrap();
        assert_eq!(froms(&second), [11]);
        assert_eq!(second.history[0].filters, subscription("b").all_filters());
    }

    #[test]
    fn a_subscription_that_is_behind_cannot_be_changed_without_end() {
        let mut now = subscription("a");
        begin(&mut now, 0);
        let changes = (1..1000).take_while(|n| {
            let mut next = subscription(&format!("t{n}"));
            let done = go_on(&mut next, now.history.clone(), *n, 0).is_some();
            now = next;
            done
        });
        assert_eq!(changes.count(), MAX_VERSIONS - 1);
    }
}
