//! What waits to be sent to a client. Of progress only the newest waits, so that a slow reader delays nobody and loses no result.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use protocol::FromEngine;

/// Messages that may wait; one who reads so little is gone.
const MOST_MESSAGES: usize = 4_096;

/// Messages for one client.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<FromEngine>,
    is_closed: bool,
}

/// What a wait came to.
pub(crate) enum Next {
    /// The next message.
    Message(Box<FromEngine>),
    /// Nothing will come any more.
    Closed,
}

impl Outbox {
    /// Puts a message behind the others; in a closed outbox it is dropped.
    pub(crate) fn put(&self, message: FromEngine) {
        let mut waiting = self.lock();
        if waiting.is_closed {
            return;
        }
        if let Some(job) = progress_of(&message) {
            waiting
                .messages
                .retain(|other| progress_of(other) != Some(job));
        }
        waiting.messages.push_back(message);
        if waiting.messages.len() > MOST_MESSAGES {
            waiting.messages.clear();
            waiting.is_closed = true;
        }
        drop(waiting);
        self.changed.notify_all();
    }

    /// No more messages; those that wait are sent still.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// Whether messages are still taken.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Waits for the next message.
    pub(crate) fn next(&self) -> Next {
        let mut waiting = self.lock();
        loop {
            if let Some(message) = waiting.messages.pop_front() {
                return Next::Message(Box::new(message));
            }
            if waiting.is_closed {
                return Next::Closed;
            }
            let waited = self.changed.wait(waiting);
            waiting = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The job whose progress this tells.
fn progress_of(message: &FromEngine) -> Option<u64> {
    match message {
        FromEngine::Progress { job, .. } => Some(*job),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(job: u64, done: u64) -> FromEngine {
        FromEngine::Progress {
            job,
            phase: "generating".to_owned(),
            done,
            total: 9,
            text: String::new(),
        }
    }

    #[test]
    fn progress_makes_way_and_results_stay() {
        let outbox = Outbox::default();
        for done in 0..10_000 {
            outbox.put(progress(1, done));
        }
        outbox.put(FromEngine::Stopped { job: 1 });
        outbox.put(progress(2, 5));
        outbox.close();
        outbox.put(FromEngine::Stopped { job: 3 });
        let mut sent = Vec::new();
        while let Next::Message(message) = outbox.next() {
            sent.push(*message);
        }
        let expected = [
            progress(1, 9_999),
            FromEngine::Stopped { job: 1 },
            progress(2, 5),
        ];
        assert_eq!(sent, expected);
    }

    #[test]
    fn who_never_reads_is_gone_in_the_end() {
        let outbox = Outbox::default();
        for job in 0..=MOST_MESSAGES as u64 {
            outbox.put(FromEngine::Stopped { job });
        }
        assert!(outbox.is_closed());
    }
}
