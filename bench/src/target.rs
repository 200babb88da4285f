//! What a case aims at, in a line: `hub/floor acks_per_second >= 0.75`.
//!
//! On the left a row, or two rows with `/` (ratio) or `~` (difference) between them; then the figure, then what it should be. Two rows
//! are compared round by round, since rows of one round were measured side by side; the median counts.

use std::str::FromStr;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::rounds::{Rounds, Spread};

/// An aim.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Target {
    text: String,
    row: String,
    than: Option<(Compared, String)>,
    figure: String,
    at_least: bool,
    bound: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Ratio,
    Difference,
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let [rows, figure, sign @ (">=" | "<="), bound] = words[..] else {
            bail!("{text:?} is no target: write ROW[/ROW|~ROW] FIGURE >=|<= NUMBER");
        };
        let (row, than) = if let Some((row, than)) = rows.split_once('/') {
            (row, Some((Compared::Ratio, than.to_owned())))
        } else if let Some((row, than)) = rows.split_once('~') {
            (row, Some((Compared::Difference, than.to_owned())))
        } else {
            (rows, None)
        };
        Ok(Self {
            text: words.join(" "),
            row: row.to_owned(),
            than,
            figure: figure.to_owned(),
            at_least: sign == ">=",
            bound: bound.parse().with_context(|| format!("{bound:?} is no number"))?,
        })
    }
}

impl Target {
    /// How near it is.
    pub(crate) fn judge(&self, rounds: &Rounds) -> anyhow::Result<Value> {
        let mut figures = rounds.figure(&self.row, &self.figure)?;
        if let Some((compared, than)) = &self.than {
            let others = rounds.figure(than, &self.figure)?;
            let pairs = figures.iter().zip(&others);
            figures = pairs
                .map(|(figure, other)| match compared {
                    Compared::Ratio => figure / other,
                    Compared::Difference => figure - other,
                })
                .collect();
        }
        let spread = Spread::of(figures);
        let reached = if self.at_least {
            spread.median >= self.bound
        } else {
            spread.median <= self.bound
        };
        // Ten times nothing is nothing that was measured.
        let met = reached && spread.median.is_finite();
        Ok(json!({ "target": self.text, "measured": spread, "met": met }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(target: &str) -> Value {
        let mut rounds = Rounds::default();
        for (hub, floor) in [(30, 40), (10, 20), (90, 100)] {
            rounds
                .add(json!({"name": "hub-64", "acks": hub, "none": 1}))
                .unwrap();
            rounds
                .add(json!({"name": "floor-64", "acks": floor, "none": 0}))
                .unwrap();
        }
        target.parse::<Target>().unwrap().judge(&rounds).unwrap()
    }

    #[test]
    fn two_rows_are_compared_round_by_round() {
        assert_eq!(judged("hub-64/floor-64 acks >= 0.75")["measured"]["median"], 0.75);
        assert_eq!(judged("hub-64/floor-64 acks >= 0.75")["met"], true);
        assert_eq!(judged("hub-64/floor-64 acks >= 0.76")["met"], false);
        assert_eq!(judged("hub-64~floor-64 acks <= -11")["measured"]["median"], -10.0);
        assert_eq!(judged("hub-64~floor-64 acks <= -11")["met"], false);
        assert_eq!(judged("hub-64 acks <= 30")["met"], true);
        assert_eq!(judged("hub-64/floor-64 none >= 1")["met"], false);
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            "hub acks",
            "hub acks > 1",
            "hub acks >= much",
            "hub/floor acks >= 1 2",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
