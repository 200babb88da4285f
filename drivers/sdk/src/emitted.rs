//! What the hub said to the events it was sent.

/// What the hub said to a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Emitted {
    /// Events that were new.
    pub accepted: usize,
    /// Events the hub already had.
    pub duplicates: usize,
    /// Events the hub will never take; only [`Hub::emit_or_skip`](crate::Hub::emit_or_skip) goes on behind them.
    pub refused: Vec<Refusal>,
}

/// An event the hub will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Position in the vector that was emitted.
    pub position: usize,
    /// `id` of the event.
    pub id: String,
    /// Why, in the hub's words.
    pub message: String,
}

impl Emitted {
    pub(crate) fn count(&mut self, body: &[u8], sent: usize) {
        #[derive(serde::Deserialize)]
        struct Counts {
            accepted: usize,
            duplicates: usize,
        }
        // A plain CloudEvents receiver says nothing: then all were new.
        let counts = serde_json::from_slice(body).unwrap_or(Counts {
            accepted: sent,
            duplicates: 0,
        });
        self.accepted += counts.accepted;
        self.duplicates += counts.duplicates;
    }
}
