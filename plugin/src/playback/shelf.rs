//! The clips that the audio thread has: those of the slots, and old ones that still fade out.

use super::clip::LoopClip;
use super::exchange::{Delivery, ExchangeReceiver};
use crate::project::SLOTS;

/// Enough for all slots and for every voice that may still play a clip which no slot has any more.
const PLACES: usize = 64;

/// Where a clip stands. It stands there as long as a slot or a voice uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u8);

/// A set of places.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places(u64);

impl Places {
    /// With one more.
    pub(super) fn insert(&mut self, place: Place) {
        self.0 |= 1 << place.0;
    }

    fn contains(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }
}

/// All clips.
#[derive(Debug)]
pub(super) struct Shelf {
    clips: [Option<Box<LoopClip>>; PLACES],
    of_slot: [Option<Place>; SLOTS],
    exchange: ExchangeReceiver,
}

impl Shelf {
    pub(super) fn new(exchange: ExchangeReceiver) -> Self {
        Self {
            clips: [const { None }; PLACES],
            of_slot: [None; SLOTS],
            exchange,
        }
    }

    /// Takes what the conductor sent, as far as there is room.
    pub(super) fn take_deliveries(&mut self) {
        while let Some(free) = self.clips.iter().position(Option::is_none) {
            let Some(Delivery { slot, clip }) = self.exchange.take() else {
                return;
            };
            let is_known = slot < SLOTS;
            if is_known {
                self.of_slot[slot] = clip.as_ref().map(|_| Place(free as u8));
            }
            self.clips[free] = clip;
        }
    }

    /// Sends back what neither a slot nor a voice uses.
    pub(super) fn return_unused(&mut self, mut used: Places) {
        self.of_slot
            .iter()
            .flatten()
            .for_each(|place| used.insert(*place));
        for (place, clip) in self.clips.iter_mut().enumerate() {
            if clip.is_none() || used.contains(place) {
                continue;
            }
            if !self.exchange.can_return() {
                return;
            }
            *clip = clip.take().and_then(|clip| self.exchange.give_back(clip));
        }
    }

    /// Where a slot's clip stands, if it has one that can be played.
    pub(super) fn of_slot(&self, slot: usize) -> Option<Place> {
        let place = (*self.of_slot.get(slot)?)?;
        self.clip(place)
            .is_some_and(LoopClip::is_playable)
            .then_some(place)
    }

    /// The clip at a place.
    pub(super) fn clip(&self, place: Place) -> Option<&LoopClip> {
        self.clips[usize::from(place.0)].as_deref()
    }
}
