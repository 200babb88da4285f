//! What following references comes to, as numbers of a graph. Pure.
//!
//! References that do not lead back are followed ([`Costs::weight`]). Those that do are followed for each level of an input:
//! how often within one, and how often into the next ([`Costs::level`]).

use std::mem::replace;

/// A reference to the schema of this number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    pub(super) to: usize,
    /// It is for what is in a value, not for the value.
    pub(super) deeper: bool,
}

/// Schemas and the references between them.
#[derive(Debug)]
pub(super) struct Costs {
    sizes: Vec<u64>,
    forward: Vec<Vec<usize>>,
    /// References that lead back to where they stand.
    back: Vec<Vec<Reference>>,
    weights: Vec<Option<u64>>,
    levels: Vec<Progress>,
}

/// What one value meets when a schema is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Level {
    /// Schemas, by references that lead back.
    pub(super) met: u64,
    /// Such references from there to what is in the value.
    pub(super) deeper: u64,
}

#[derive(Debug, Clone, Copy)]
enum Progress {
    Unknown,
    Open,
    Known(Level),
}

/// References in a circle that never lead into a value.
const ENDLESS: Level = Level {
    met: u64::MAX,
    deeper: u64::MAX,
};

impl Costs {
    /// Of schemas of these sizes, and for each its references, as often as there are.
    pub(super) fn new(sizes: Vec<u64>, references: Vec<Vec<Reference>>) -> Self {
        let count = sizes.len();
        let reached: Vec<Vec<bool>> = (0..count).map(|at| reached(&references, at)).collect();
        let (mut forward, mut back) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (at, references) in references.into_iter().enumerate() {
            for reference in references {
                match reached[reference.to][at] {
                    true => back[at].push(reference),
                    false => forward[at].push(reference.to),
                }
            }
        }
        Self {
            sizes,
            forward,
            back,
            weights: vec![None; count],
            levels: vec![Progress::Unknown; count],
        }
    }

    /// The weight of the heaviest, or of all where each is met once.
    pub(super) fn weight(&mut self) -> u64 {
        let once = self
            .sizes
            .iter()
            .fold(0, |sum: u64, size| sum.saturating_add(*size));
        let heaviest = (0..self.sizes.len()).map(|at| self.weight_of(at)).max();
        heaviest.unwrap_or_default().max(once)
    }

    /// The most that a value can meet.
    pub(super) fn level(&mut self) -> Level {
        let none = Level { met: 1, deeper: 0 };
        (0..self.sizes.len()).fold(none, |most, at| {
            let level = self.level_of(at);
            Level {
                met: most.met.max(level.met),
                deeper: most.deeper.max(level.deeper),
            }
        })
    }

    fn weight_of(&mut self, at: usize) -> u64 {
        if let Some(known) = self.weights[at] {
            return known;
        }
        let forward = std::mem::take(&mut self.forward[at]);
        let weight = forward
            .into_iter()
            .fold(self.sizes[at], |sum, to| sum.saturating_add(self.weight_of(to)));
        self.weights[at] = Some(weight);
        weight
    }

    fn level_of(&mut self, at: usize) -> Level {
        match replace(&mut self.levels[at], Progress::Open) {
            Progress::Unknown => {}
            Progress::Open => return ENDLESS,
            Progress::Known(level) => {
                self.levels[at] = Progress::Known(level);
                return level;
            }
        }
        let back = std::mem::take(&mut self.back[at]);
        let level = back
            .into_iter()
            .fold(Level { met: 1, deeper: 0 }, |all, reference| {
                let Level { met, deeper } = match reference.deeper {
                    true => Level { met: 0, deeper: 1 },
                    false => self.level_of(reference.to),
                };
                Level {
                    met: all.met.saturating_add(met),
                    deeper: all.deeper.saturating_add(deeper),
                }
            });
        self.levels[at] = Progress::Known(level);
        level
    }
}

fn reached(references: &[Vec<Reference>], from: usize) -> Vec<bool> {
    let mut seen = vec![false; references.len()];
    let mut open = vec![from];
    while let Some(at) = open.pop() {
        if !replace(&mut seen[at], true) {
            open.extend(references[at].iter().map(|reference| reference.to));
        }
    }
    seen
}
