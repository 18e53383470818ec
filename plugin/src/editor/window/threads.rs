//! The threads that windows run on: a plugin whose library may be unloaded waits for their end.
//!
//! Closing a window asks its thread to end, and does not in every case wait for it (baseview 0.4.2 gives up joining when the thread ends between
//! two of its messages). What the thread still has to do then, closing its display, is code of this library.

use std::cell::RefCell;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A thread that hangs in a driver must not hang the host.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

thread_local! {
    /// Dropped when the thread ends, after everything that runs on it.
    static PRESENT: RefCell<Vec<Present>> = const { RefCell::new(Vec::new()) };
}

/// How many threads of one editor's windows have not ended.
#[derive(Clone, Debug, Default)]
pub(super) struct WindowThreads(Arc<(Mutex<usize>, Condvar)>);

struct Present(WindowThreads);

impl WindowThreads {
    /// Counts the calling thread until it ends.
    pub(super) fn enter(&self) {
        self.change(|count| count + 1);
        PRESENT.with_borrow_mut(|present| present.push(Present(self.clone())));
    }

    /// Returns when all have ended, or after a while.
    pub(super) fn wait_until_gone(&self) {
        let (count, changed) = &*self.0;
        let count = count.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(count, LONGEST_WAIT, |count| *count > 0);
        if waited.is_ok_and(|(_, timeout)| timeout.timed_out()) {
            tracing::warn!("a window's thread has not ended within {LONGEST_WAIT:?}");
        }
    }

    fn change(&self, to: impl FnOnce(usize) -> usize) {
        let (count, changed) = &*self.0;
        let mut count = count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = to(*count);
        changed.notify_all();
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.change(|count| count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn waits_for_threads_that_have_entered_and_for_no_others() {
        let threads = WindowThreads::default();
        threads.wait_until_gone();
        let (told, hear) = std::sync::mpsc::channel();
        let inside = threads.clone();
        let thread = std::thread::spawn(move || {
            inside.enter();
            let _ = told.send(());
            std::thread::sleep(Duration::from_millis(50));
            Instant::now()
        });
        assert!(hear.recv().is_ok());
        threads.wait_until_gone();
        let gone = Instant::now();
        assert!(thread.join().is_ok_and(|ended| ended <= gone));
    }
}
