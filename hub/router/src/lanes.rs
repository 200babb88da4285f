//! All lanes, each in a slot that stays the same while it lives.

use std::collections::HashMap;
use std::ops::Range;

use dispatch_contract::SubscriptionId;

use crate::lane::Lane;

#[derive(Default)]
pub(crate) struct Lanes {
    slots: Vec<Option<Lane>>,
    free: Vec<usize>,
    by_id: HashMap<SubscriptionId, usize>,
}

impl Lanes {
    pub(crate) fn insert(&mut self, lane: Lane) -> usize {
        let slot = self.free.pop().unwrap_or(self.slots.len());
        self.by_id.insert(lane.id, slot);
        match self.slots.get_mut(slot) {
            Some(place) => *place = Some(lane),
            None => self.slots.push(Some(lane)),
        }
        slot
    }

    pub(crate) fn remove(&mut self, slot: usize) -> Option<Lane> {
        let lane = self.slots.get_mut(slot)?.take()?;
        self.by_id.remove(&lane.id);
        self.free.push(slot);
        Some(lane)
    }

    pub(crate) fn slot(&self, id: SubscriptionId) -> Option<usize> {
        self.by_id.get(&id).copied()
    }
    pub(crate) fn get(&self, slot: usize) -> Option<&Lane> {
        self.slots.get(slot)?.as_ref()
    }
    pub(crate) fn get_mut(&mut self, slot: usize) -> Option<&mut Lane> {
        self.slots.get_mut(slot)?.as_mut()
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.slots.iter().flatten()
    }
    pub(crate) fn slots(&self) -> Range<usize> {
        0..self.slots.len()
    }
}
