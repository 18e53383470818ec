//! What was in the slots before, to take changes back.

use crate::project::{SLOTS, Variation};

/// Steps that can be taken back.
const MOST_STEPS: usize = 64;

/// The slots of a project.
pub(crate) type Slots = [Option<Variation>; SLOTS];

/// Changes of slots, in the order they were made.
#[derive(Debug, Default)]
pub(crate) struct History {
    done: Vec<Change>,
    undone: Vec<Change>,
}

/// What one slot held before and after.
#[derive(Debug, Clone)]
struct Change {
    slot: usize,
    before: Option<Variation>,
    after: Option<Variation>,
}

impl History {
    /// Puts a variation into a slot, so that it can be taken back.
    pub(crate) fn change(&mut self, slots: &mut Slots, slot: usize, after: Option<Variation>) {
        let before = std::mem::replace(&mut slots[slot], after.clone());
        self.undone.clear();
        self.done.push(Change {
            slot,
            before,
            after,
        });
        if self.done.len() > MOST_STEPS {
            self.done.remove(0);
        }
    }

    /// Takes the last change back; the slot it was in.
    pub(crate) fn undo(&mut self, slots: &mut Slots) -> Option<usize> {
        let mut change = self.done.pop()?;
        let slot = change.slot;
        // With the name that it was given since, and kept or not as it is now.
        change.after = std::mem::replace(&mut slots[slot], change.before.clone());
        self.undone.push(change);
        Some(slot)
    }

    /// Makes the change again that was taken back last.
    pub(crate) fn redo(&mut self, slots: &mut Slots) -> Option<usize> {
        let mut change = self.undone.pop()?;
        let slot = change.slot;
        change.before = std::mem::replace(&mut slots[slot], change.after.clone());
        self.done.push(change);
        Some(slot)
    }

    /// Whether there is something to take back.
    pub(crate) fn can_undo(&self) -> bool {
        !self.done.is_empty()
    }

    /// Whether something was taken back.
    pub(crate) fn can_redo(&self) -> bool {
        !self.undone.is_empty()
    }

    /// Forgets everything: another project was opened.
    pub(crate) fn clear(&mut self) {
        self.done.clear();
        self.undone.clear();
    }

    /// The keys of all clips that could come back.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        let changes = self.done.iter().chain(&self.undone);
        changes
            .flat_map(|change| [&change.before, &change.after])
            .filter_map(|variation| Some(variation.as_ref()?.key.as_str()))
    }
}
