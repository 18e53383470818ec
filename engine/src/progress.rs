//! Progress of a job, as its client is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use protocol::{FromEngine, JobId};

use crate::hub::{Hub, Owners};

/// Tells the owners of a job what it does.
pub(crate) struct Told {
    hub: Arc<Hub>,
    owners: Arc<Owners>,
    stop: Arc<AtomicBool>,
    /// Training makes way while a clip is made.
    makes_way: bool,
    phase: String,
    done: u64,
    total: u64,
    text: String,
}

impl Told {
    /// Of a job that ends when `stop` is set.
    pub(crate) fn new(
        hub: Arc<Hub>,
        owners: Arc<Owners>,
        stop: Arc<AtomicBool>,
        makes_way: bool,
    ) -> Self {
        Self {
            hub,
            owners,
            stop,
            makes_way,
            phase: String::new(),
            done: 0,
            total: 0,
            text: String::new(),
        }
    }

    fn tell(&self) {
        self.say(|job| FromEngine::Progress {
            job,
            phase: self.phase.clone(),
            done: self.done,
            total: self.total,
            text: self.text.clone(),
        });
    }

    fn say(&self, message: impl Fn(JobId) -> FromEngine) {
        for (client, job) in self.owners.all() {
            self.hub.send(client, message(job));
        }
    }
}

impl lora::progress::Progress for Told {
    fn begin(&mut self, phase: &str, total: usize) {
        phase.clone_into(&mut self.phase);
        (self.done, self.total) = (0, total as u64);
        self.text.clear();
        self.tell();
    }

    fn advance(&mut self) {
        self.done += 1;
        self.tell();
    }

    fn skip(&mut self, units: usize) {
        self.done += units as u64;
        self.tell();
    }

    fn describe(&mut self, text: &str) {
        text.clone_into(&mut self.text);
    }

    fn note(&mut self, text: &str) {
        self.say(|job| FromEngine::Note {
            job,
            text: text.to_owned(),
        });
    }

    fn end(&mut self) {}

    fn stop_requested(&self) -> bool {
        if self.makes_way {
            self.hub.wait_while_making(&self.stop);
        }
        self.stop.load(Ordering::Relaxed)
    }
}
