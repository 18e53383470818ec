//! How an offline render waits until everything it asked for is made and handed over.

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an offline render waits for a ticket.
pub(crate) const OFFLINE_PATIENCE: Duration = Duration::from_secs(600);

/// Tickets of those who wait, and the last one that was served.
#[derive(Debug, Default)]
pub struct Settling {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    asked: u64,
    served: u64,
    is_over: bool,
}

impl Settling {
    /// Takes a ticket.
    pub fn ask(&self) -> u64 {
        let mut state = self.lock();
        state.asked += 1;
        state.asked
    }

    /// The newest ticket that nobody served, if there is one.
    pub fn asked(&self) -> Option<u64> {
        let state = self.lock();
        (state.asked > state.served).then_some(state.asked)
    }

    /// Everything asked for before this ticket is done.
    pub fn serve(&self, ticket: u64) {
        let mut state = self.lock();
        state.served = state.served.max(ticket);
        self.changed.notify_all();
    }

    /// Nobody will serve any more.
    pub fn end(&self) {
        self.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Waits for a ticket; false if it takes longer than `timeout` or nobody serves.
    pub fn wait(&self, ticket: u64, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while state.served < ticket {
            let left = deadline.saturating_duration_since(Instant::now());
            if state.is_over || left.is_zero() {
                return false;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_served_or_told() {
        let settling = Settling::default();
        let first = settling.ask();
        let second = settling.ask();
        assert_eq!(settling.asked(), Some(second));
        std::thread::scope(|scope| {
            scope.spawn(|| settling.serve(second));
            assert!(settling.wait(first, Duration::from_secs(60)));
        });
        assert_eq!(settling.asked(), None);
        let third = settling.ask();
        assert!(!settling.wait(third, Duration::from_millis(5)));
        settling.end();
        assert!(!settling.wait(third, Duration::from_secs(60)));
    }
}
