//! Rows of the same name from several rounds become one, with the median, the least and the most of each figure.

use anyhow::Context as _;
use serde_json::{Map, Value, json};

/// All rows of a case, in the order in which their names were first seen.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Vec<(String, Vec<Value>)>);

impl Rounds {
    /// Adds a row as `dispatch-bench run` writes it.
    pub(crate) fn add(&mut self, row: Value) -> anyhow::Result<()> {
        let name = row["name"].as_str().context("a row has no name")?.to_owned();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => self.0.push((name, vec![row])),
        }
        Ok(())
    }

    /// Nothing was measured.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A figure (`end_to_end_micros.p99`) of a row in each round.
    pub(crate) fn figure(&self, name: &str, path: &str) -> anyhow::Result<Vec<f64>> {
        let (_, rows) = self
            .0
            .iter()
            .find(|(known, _)| known == name)
            .with_context(|| format!("there is no row {name}"))?;
        let pointer = format!("/{}", path.replace('.', "/"));
        rows.iter()
            .map(|row| {
                let figure = row.pointer(&pointer).and_then(Value::as_f64);
                figure.with_context(|| format!("row {name} has no figure {path}"))
            })
            .collect()
    }

    /// One row for each name.
    pub(crate) fn rows(&self) -> Vec<Value> {
        let rows = self.0.iter().map(|(name, rows)| {
            let mut figures = Map::new();
            figures.insert("name".to_owned(), json!(name));
            figures.insert("rounds".to_owned(), json!(rows.len()));
            for (key, first) in rows[0].as_object().into_iter().flatten() {
                match key.as_str() {
                    "name" => {}
                    "setting" => drop(figures.insert(key.clone(), first.clone())),
                    _ => drop(figures.insert(key.clone(), merged(first, rows, &format!("/{key}")))),
                }
            }
            Value::Object(figures)
        });
        rows.collect()
    }
}

/// Every number below the pointer as its spread over the rows.
fn merged(first: &Value, rows: &[Value], pointer: &str) -> Value {
    match first {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), merged(value, rows, &format!("{pointer}/{key}"))))
            .collect(),
        Value::Number(_) => {
            let figures = rows.iter().filter_map(|row| row.pointer(pointer)?.as_f64());
            json!(Spread::of(figures.collect()))
        }
        other => other.clone(),
    }
}

/// A figure over all rounds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub(crate) struct Spread {
    /// The middle one; of an even number the mean of the two in the middle.
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Of these figures; of none it is no number.
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(f64::NAN);
        let last = figures.len().saturating_sub(1);
        let round = |figure: f64| (figure * 1000.0).round() / 1000.0;
        Self {
            median: round(f64::midpoint(at(last / 2), at(last.div_ceil(2)))),
            min: round(at(0)),
            max: round(at(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rounds_of_a_row_become_their_median_least_and_most() {
        let mut rounds = Rounds::default();
        for (acks, p50) in [(30, 7), (10, 9), (20, 8)] {
            let micros = json!({"p50": p50});
            rounds
                .add(json!({"name": "hub", "setting": {"producers": 64}, "acks": acks, "micros": micros}))
                .unwrap();
        }
        rounds.add(json!({"name": "floor", "acks": 1})).unwrap();

        let rows = rounds.rows();

        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0]["acks"], json!({"median": 20.0, "min": 10.0, "max": 30.0}));
        assert_eq!(rows[0]["micros"]["p50"]["median"], 8.0);
        assert_eq!(
            (&rows[0]["setting"]["producers"], &rows[0]["rounds"]),
            (&json!(64), &json!(3))
        );
        assert_eq!(rounds.figure("hub", "micros.p50").unwrap(), [7.0, 9.0, 8.0]);
        assert!(rounds.figure("hub", "micros.p99").is_err());
        assert!(rounds.figure("nobody", "acks").is_err());
        assert_eq!(Spread::of(vec![4.0, 1.0, 2.0, 3.0]).median, 2.5);
    }
}
