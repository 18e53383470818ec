//! The engine's memory, of which clips and training have one budget.
//!
//! A training takes what it needs but for the embedded base's share, so that clips can always be made beside it. A larger base that is in memory
//! when a training begins makes way as soon as nobody waits for a clip; one that is asked for while the training runs is refused in words.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{Problem, ProblemKind};

use crate::problem::{Ending, problem};

/// What a clip of the embedded base takes: weights, autoencoder, latents and sound.
pub(crate) const EMBEDDED_BYTES: usize = 300 << 20;
/// How often one that waits looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Who has how much of it.
pub(crate) struct Memory {
    most_bytes: usize,
    taken: Mutex<Taken>,
    changed: Condvar,
}

#[derive(Default)]
struct Taken {
    making_bytes: usize,
    learning_bytes: usize,
}

impl Taken {
    fn is_beyond(&self, most_bytes: usize) -> bool {
        // The embedded base is let in beside every training, however little there is.
        self.learning_bytes > 0
            && self.making_bytes > EMBEDDED_BYTES
            && self.making_bytes.saturating_add(self.learning_bytes) > most_bytes
    }
}

/// A training's share, which is free again when this is dropped.
pub(crate) struct LearningShare<'a>(&'a Memory);

impl Drop for LearningShare<'_> {
    fn drop(&mut self) {
        self.0.lock().learning_bytes = 0;
        self.0.changed.notify_all();
    }
}

impl Memory {
    pub(crate) fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            taken: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a training may take.
    pub(crate) fn most_for_learning(&self) -> usize {
        self.most_bytes.saturating_sub(EMBEDDED_BYTES)
    }

    /// For the base that is part of the engine, which is always let in.
    pub(crate) fn reserve_for_embedded(&self) {
        self.lock().making_bytes = EMBEDDED_BYTES;
    }

    /// For the base of this name.
    ///
    /// # Errors
    /// When it is more than there is, or than a training has left.
    pub(crate) fn reserve_for_making(&self, name: &str, bytes: usize) -> Result<(), Problem> {
        let mut taken = self.lock();
        let learning_bytes = taken.learning_bytes;
        let free = self.most_bytes.saturating_sub(learning_bytes);
        if bytes <= free || bytes <= EMBEDDED_BYTES {
            taken.making_bytes = bytes;
            return Ok(());
        }
        let megabytes = |bytes: usize| bytes / 1_000_000;
        let needed = megabytes(bytes);
        let most = megabytes(self.most_bytes);
        let text = match bytes <= self.most_bytes {
            true => format!(
                "{name} needs about {needed} MB of memory, and of the {most} MB that the engine may take a training has {}; wait for it or stop it, it can go on later, or choose a smaller base",
                megabytes(learning_bytes)
            ),
            false => format!(
                "{name} needs about {needed} MB of memory, and the engine may take {most} MB; close other programs and start the engine with a larger --memory, or choose a smaller base"
            ),
        };
        Err(problem(ProblemKind::Memory, text))
    }

    /// The base is out of memory.
    pub(crate) fn release_making(&self) {
        self.lock().making_bytes = 0;
        self.changed.notify_all();
    }

    /// Whether a training waits for the memory of a base.
    pub(crate) fn is_short(&self) -> bool {
        self.lock().is_beyond(self.most_bytes)
    }

    /// For a training, which waits until a larger base has made way.
    ///
    /// # Errors
    /// When it is more than there is, or `stop` is set while it waits.
    pub(crate) fn reserve_for_learning(
        &self,
        bytes: usize,
        stop: &AtomicBool,
    ) -> Result<LearningShare<'_>, Ending> {
        if bytes > self.most_bytes {
            let text = format!(
                "this training takes about {} MB of memory, and the engine may take {} MB; close other programs and start the engine with a larger --memory",
                bytes / 1_000_000,
                self.most_bytes / 1_000_000
            );
            return Err(problem(ProblemKind::Memory, text).into());
        }
        self.lock().learning_bytes = bytes;
        let share = LearningShare(self);
        let mut taken = self.lock();
        while taken.is_beyond(self.most_bytes) {
            if stop.load(Ordering::Relaxed) {
                // The share takes the lock when it is given back.
                drop(taken);
                return Err(Ending::Stopped);
            }
            let waited = self.changed.wait_timeout(taken, LOOK);
            taken = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(taken);
        Ok(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn clips_and_training_have_one_budget() {
        let memory = Memory::new(1_000 * MIB);
        let never = AtomicBool::new(false);
        assert_eq!(memory.most_for_learning(), 700 * MIB);
        memory.reserve_for_making("large", 900 * MIB).unwrap();
        assert!(!memory.is_short());
        std::thread::scope(|scope| {
            let training = scope.spawn(|| {
                let share = memory.reserve_for_learning(600 * MIB, &never).ok();
                let refused = memory.reserve_for_making("large", 900 * MIB).unwrap_err();
                assert!(refused.text.contains("a training has"), "{}", refused.text);
                memory.reserve_for_embedded();
                assert!(!memory.is_short());
                drop(share);
            });
            while !memory.is_short() {
                std::thread::yield_now();
            }
            assert!(!training.is_finished());
            memory.release_making();
        });
        memory.reserve_for_making("large", 900 * MIB).unwrap();
        let refused = memory.reserve_for_making("giant", 2_000 * MIB).unwrap_err();
        assert!(refused.text.contains("larger --memory"), "{}", refused.text);
    }

    #[test]
    fn a_training_that_waits_can_be_stopped_and_gives_its_share_back() {
        let memory = Memory::new(1_000 * MIB);
        let stopped = AtomicBool::new(true);
        assert!(memory.reserve_for_learning(2_000 * MIB, &stopped).is_err());
        memory.reserve_for_making("large", 900 * MIB).unwrap();
        let ending = memory.reserve_for_learning(600 * MIB, &stopped);
        assert!(matches!(ending, Err(Ending::Stopped)));
        assert!(!memory.is_short());
        // The embedded base is let in beside everything, also where there is hardly any memory.
        let small = Memory::new(100 * MIB);
        small.reserve_for_embedded();
        small.reserve_for_learning(90 * MIB, &stopped).ok();
        assert!(!small.is_short());
    }
}
