//! What all threads share: the clients, the jobs that wait and those at work.
//!
//! There is one lock, held for moments; no file is touched and no model asked under it.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::places::Places;
use protocol::{FromEngine, JobId, LearnRequest, Problem, ProblemKind, Recipe};

use crate::adapters::Shelf;
use crate::bases::Facts;
use crate::clips::Clips;
use crate::inputs::Inputs;
use crate::memory::Memory;
use crate::outbox::Outbox;
use crate::problem::problem;
use crate::queue::{ClientId, FairQueue, MOST_WAITING};
use crate::server::Options;

/// Clients at a time.
const MOST_CLIENTS: usize = 1_024;
/// Adapters that a client may have added to its list.
const MOST_ADDED: usize = 1_000;

/// Shared by all threads.
pub(crate) struct Hub {
    pub(crate) places: Places,
    pub(crate) clips: Clips,
    pub(crate) inputs: Inputs,
    pub(crate) shelf: Shelf,
    pub(crate) facts: Facts,
    pub(crate) memory: Memory,
    state: Mutex<State>,
    changed: Condvar,
    /// Held while trainings are listed and told.
    telling_runs: Mutex<()>,
}

struct State {
    clients: HashMap<ClientId, Connected>,
    next_client: ClientId,
    making: Lane<Recipe>,
    learning: Lane<Learn>,
    /// Runs that are being deleted.
    discarding: HashSet<String>,
    /// Jobs that are done and whose clients are being told so.
    telling: usize,
    /// No client joins and no job comes any more.
    is_ending: bool,
    /// When there was last something to do.
    busy_at: Instant,
}

impl State {
    fn rests(&self) -> bool {
        self.making.at_work.is_none() && self.learning.at_work.is_none() && self.telling == 0
    }
}

struct Connected {
    outbox: Arc<Outbox>,
    held: HashSet<String>,
    held_inputs: HashSet<PathBuf>,
    added: Vec<PathBuf>,
}

/// Jobs of one kind, of which one at a time is at work.
struct Lane<T> {
    queue: FairQueue<Waiting<T>>,
    at_work: Option<AtWork>,
}

struct Waiting<T> {
    job: JobId,
    work: T,
    /// What the client was told last.
    told: Option<u32>,
}

#[derive(Clone)]
struct AtWork {
    owners: Arc<Owners>,
    stop: Arc<AtomicBool>,
    /// Of a training run.
    run: Option<String>,
}

/// What to train.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Learn {
    /// A new run.
    New(LearnRequest),
    /// An earlier run, by its name.
    Resume(String),
}

impl Learn {
    /// The run that it goes on with; a new one has no name yet.
    fn run(&self) -> Option<&str> {
        match self {
            Self::New(_) => None,
            Self::Resume(run) => Some(run),
        }
    }
}

/// Who is told of a job: who asked for it, and of a training also those that came upon it under way.
#[derive(Debug)]
pub(crate) struct Owners(Mutex<Vec<(ClientId, JobId)>>);

impl Owners {
    fn new(client: ClientId, job: JobId) -> Self {
        Self(Mutex::new(vec![(client, job)]))
    }

    /// The clients and their numbers for the job.
    pub(crate) fn all(&self) -> Vec<(ClientId, JobId)> {
        self.lock().clone()
    }

    fn are(&self, client: ClientId, job: JobId) -> bool {
        self.lock().contains(&(client, job))
    }

    fn has_client(&self, client: ClientId) -> bool {
        self.lock().iter().any(|(owner, _)| *owner == client)
    }

    fn add(&self, client: ClientId, job: JobId) {
        self.lock().push((client, job));
    }

    fn leave(&self, client: ClientId) {
        self.lock().retain(|(owner, _)| *owner != client);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(ClientId, JobId)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The clients of a job that is done are being told so; an engine that ends waits for it before it takes leave of them.
#[must_use]
pub(crate) struct Telling<'a> {
    hub: &'a Hub,
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.hub.lock().telling -= 1;
        self.hub.changed.notify_all();
    }
}

/// A job whose turn it is.
pub(crate) struct Turn<T> {
    pub(crate) owners: Arc<Owners>,
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) work: T,
}

impl<T> Lane<T> {
    fn new() -> Self {
        Self {
            queue: FairQueue::default(),
            at_work: None,
        }
    }

    fn has(&self, client: ClientId, job: JobId) -> bool {
        let is_at_work = |at_work: &AtWork| at_work.owners.are(client, job);
        self.at_work.as_ref().is_some_and(is_at_work)
            || self.queue.of(client).any(|waiting| waiting.job == job)
    }

    fn is_idle(&self) -> bool {
        self.at_work.is_none() && self.queue.is_empty()
    }

    /// Who is to be told a new place in the queue.
    fn news(&mut self) -> Vec<(ClientId, FromEngine)> {
        let before = u32::from(self.at_work.is_some());
        let mut news = Vec::new();
        for (place, (client, waiting)) in self.queue.in_order().into_iter().enumerate() {
            let ahead = place as u32 + before;
            if waiting.told.replace(ahead) != Some(ahead) {
                let job = waiting.job;
                news.push((client, FromEngine::Queued { job, ahead }));
            }
        }
        news
    }

    /// Takes a job out or asks it to stop; true where it waited.
    fn cancel(&mut self, client: ClientId, job: JobId) -> bool {
        if let Some(at_work) = &self.at_work
            && at_work.owners.are(client, job)
        {
            at_work.stop.store(true, Ordering::Relaxed);
        }
        let removed = self.queue.remove(client, |waiting| waiting.job == job);
        !removed.is_empty()
    }

    /// The next job, and the training run that it goes on with, which is known before anybody asks for it.
    fn next(&mut self, run: impl Fn(&T) -> Option<String>) -> Option<Turn<T>> {
        let (client, waiting) = self.queue.pop()?;
        let at_work = AtWork {
            owners: Arc::new(Owners::new(client, waiting.job)),
            stop: Arc::new(AtomicBool::new(false)),
            run: run(&waiting.work),
        };
        self.at_work = Some(at_work.clone());
        Some(Turn {
            owners: at_work.owners,
            stop: at_work.stop,
            work: waiting.work,
        })
    }

    /// Asks the job at work to stop; gives those that waited.
    fn stop_all(&mut self) -> Vec<(ClientId, JobId)> {
        if let Some(at_work) = &self.at_work {
            at_work.stop.store(true, Ordering::Relaxed);
        }
        std::iter::from_fn(|| self.queue.pop())
            .map(|(client, waiting)| (client, waiting.job))
            .collect()
    }
}

impl Hub {
    pub(crate) fn new(places: Places, options: &Options) -> Self {
        Self {
            clips: Clips::new(&places, options.clips_bytes),
            inputs: Inputs::new(&places),
            shelf: Shelf::new(&places),
            facts: Facts::default(),
            memory: Memory::new(options.memory_bytes),
            places,
            state: Mutex::new(State {
                clients: HashMap::new(),
                next_client: 1,
                making: Lane::new(),
                learning: Lane::new(),
                discarding: HashSet::new(),
                telling: 0,
                is_ending: false,
                busy_at: Instant::now(),
            }),
            changed: Condvar::new(),
            telling_runs: Mutex::new(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new client; none where there are too many, or the engine ends.
    pub(crate) fn join(&self, outbox: Arc<Outbox>) -> Option<ClientId> {
        let mut state = self.lock();
        if state.is_ending || state.clients.len() >= MOST_CLIENTS {
            return None;
        }
        let client = state.next_client;
        state.next_client += 1;
        state.busy_at = Instant::now();
        let connected = Connected {
            outbox,
            held: HashSet::new(),
            held_inputs: HashSet::new(),
            added: Vec::new(),
        };
        state.clients.insert(client, connected);
        Some(client)
    }

    /// A client is gone: its clips are not made; what it has trained goes on.
    pub(crate) fn leave(&self, client: ClientId) {
        let mut state = self.lock();
        if let Some(connected) = state.clients.remove(&client) {
            connected.outbox.close();
        }
        state.busy_at = Instant::now();
        state.making.queue.remove(client, |_| true);
        if let Some(at_work) = &state.making.at_work
            && at_work.owners.has_client(client)
        {
            at_work.stop.store(true, Ordering::Relaxed);
        }
        if let Some(at_work) = &state.learning.at_work {
            at_work.owners.leave(client);
        }
        self.tell_news(state);
    }

    /// Says something to a client, if it is still there.
    pub(crate) fn send(&self, client: ClientId, message: FromEngine) {
        let outbox = self
            .lock()
            .clients
            .get(&client)
            .map(|connected| Arc::clone(&connected.outbox));
        if let Some(outbox) = outbox {
            outbox.put(message);
        }
    }

    /// All clients.
    pub(crate) fn clients(&self) -> Vec<ClientId> {
        self.lock().clients.keys().copied().collect()
    }

    /// Remembers the clips that a client may read, and the sounds it may ask with.
    pub(crate) fn hold(&self, client: ClientId, keys: Vec<String>, inputs: Vec<PathBuf>) {
        if let Some(connected) = self.lock().clients.get_mut(&client) {
            connected.held = keys.into_iter().collect();
            connected.held_inputs = inputs.into_iter().collect();
        }
    }

    /// Adds to the clips that a client may read one that it is about to be told of.
    pub(crate) fn also_hold(&self, client: ClientId, key: &str) {
        if let Some(connected) = self.lock().clients.get_mut(&client) {
            connected.held.insert(key.to_owned());
        }
    }

    /// All clips that any client may read.
    pub(crate) fn held(&self) -> HashSet<String> {
        let state = self.lock();
        let held = state.clients.values().flat_map(|client| &client.held);
        held.cloned().collect()
    }

    /// All sounds that any client may ask with.
    pub(crate) fn held_inputs(&self) -> HashSet<PathBuf> {
        let state = self.lock();
        let held = state.clients.values();
        held.flat_map(|client| &client.held_inputs)
            .cloned()
            .collect()
    }

    /// Adapters that a client has named.
    pub(crate) fn added(&self, client: ClientId) -> Vec<PathBuf> {
        let state = self.lock();
        let added = state.clients.get(&client).map(|client| &client.added);
        added.cloned().unwrap_or_default()
    }

    /// Keeps an adapter in a client's list.
    pub(crate) fn add(&self, client: ClientId, path: PathBuf) {
        if let Some(connected) = self.lock().clients.get_mut(&client)
            && !connected.added.contains(&path)
            && connected.added.len() < MOST_ADDED
        {
            connected.added.push(path);
        }
    }

    /// Puts a clip into the queue.
    pub(crate) fn make(&self, client: ClientId, job: JobId, recipe: Recipe) -> Result<(), Problem> {
        self.enqueue(client, job, recipe, None, |state| &mut state.making)
    }

    /// Puts a training into the queue. Of one that is at work already the client is told as well from now on.
    pub(crate) fn learn(&self, client: ClientId, job: JobId, work: Learn) -> Result<(), Problem> {
        if let Learn::Resume(run) = &work {
            let state = self.lock();
            if let Some(at_work) = &state.learning.at_work
                && at_work.run.as_ref() == Some(run)
                // One that is stopping is queued behind itself.
                && !at_work.stop.load(Ordering::Relaxed)
            {
                if at_work.owners.has_client(client) {
                    return Err(problem(
                        ProblemKind::BadRequest,
                        "this training is under way already",
                    ));
                }
                at_work.owners.add(client, job);
                return Ok(());
            }
        }
        let resumed = work.run().map(str::to_owned);
        self.enqueue(client, job, work, resumed, |state| &mut state.learning)
    }

    fn enqueue<T>(
        &self,
        client: ClientId,
        job: JobId,
        work: T,
        resumed: Option<String>,
        lane: impl Fn(&mut State) -> &mut Lane<T>,
    ) -> Result<(), Problem> {
        let mut state = self.lock();
        let refuse = |text: String| Err(problem(ProblemKind::BadRequest, text));
        if state.is_ending {
            return refuse("the engine is ending; ask again".to_owned());
        }
        if state.making.has(client, job) || state.learning.has(client, job) {
            return refuse(format!("job {job} is there already"));
        }
        if resumed.is_some_and(|run| state.discarding.contains(&run)) {
            return refuse("this training is being deleted".to_owned());
        }
        let waiting = Waiting {
            job,
            work,
            told: None,
        };
        if lane(&mut state).queue.push(client, waiting).is_err() {
            return refuse(format!(
                "{MOST_WAITING} jobs of this plugin wait already; wait for some of them, or cancel them"
            ));
        }
        self.tell_news(state);
        Ok(())
    }

    /// Stops a job.
    pub(crate) fn cancel(&self, client: ClientId, job: JobId) {
        let mut state = self.lock();
        let was_waiting = state.making.cancel(client, job) | state.learning.cancel(client, job);
        self.tell_news(state);
        if was_waiting {
            self.send(client, FromEngine::Stopped { job });
        }
    }

    /// The next clip to make; none after a while without one, or when the engine ends.
    pub(crate) fn next_to_make(&self, most: Duration) -> Option<Turn<Recipe>> {
        self.next(most, |state| &mut state.making, |_| None)
    }

    /// The next adapter to train.
    pub(crate) fn next_to_learn(&self, most: Duration) -> Option<Turn<Learn>> {
        let run = |work: &Learn| work.run().map(str::to_owned);
        self.next(most, |state| &mut state.learning, run)
    }

    fn next<T>(
        &self,
        most: Duration,
        lane: impl Fn(&mut State) -> &mut Lane<T>,
        run: impl Fn(&T) -> Option<String>,
    ) -> Option<Turn<T>> {
        let deadline = Instant::now() + most;
        let mut state = self.lock();
        loop {
            if state.is_ending {
                return None;
            }
            if let Some(turn) = lane(&mut state).next(&run) {
                self.tell_news(state);
                return Some(turn);
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The clip under way is done; its clients are told while the answer lives.
    pub(crate) fn made(&self) -> Telling<'_> {
        let mut state = self.lock();
        state.making.at_work = None;
        self.begin_telling(state)
    }

    /// The training under way has this name.
    pub(crate) fn name_run(&self, run: &str) {
        if let Some(at_work) = &mut self.lock().learning.at_work {
            at_work.run = Some(run.to_owned());
        }
    }

    /// Whoever lists the trainings and tells them waits for who does.
    pub(crate) fn turn_to_tell_runs(&self) -> MutexGuard<'_, ()> {
        self.telling_runs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The name of the training under way, once it has one.
    pub(crate) fn run_under_way(&self) -> Option<String> {
        self.lock().learning.at_work.as_ref()?.run.clone()
    }

    /// A training run is about to be deleted, and cannot be gone on with any more; false where it is under way, or waits to go on.
    pub(crate) fn begin_discarding(&self, run: &str) -> bool {
        let mut state = self.lock();
        let at_work = state.learning.at_work.as_ref();
        let is_at_work = at_work.is_some_and(|at_work| at_work.run.as_deref() == Some(run));
        let waiting = state.learning.queue.in_order();
        let mut works = waiting.into_iter().map(|(_, waiting)| &waiting.work);
        let waits = works.any(|work| work.run() == Some(run));
        !is_at_work && !waits && state.discarding.insert(run.to_owned())
    }

    /// It is deleted, or is not to be.
    pub(crate) fn end_discarding(&self, run: &str) {
        self.lock().discarding.remove(run);
    }

    /// The training under way is done; its clients are told while the answer lives.
    pub(crate) fn learned(&self) -> Telling<'_> {
        let mut state = self.lock();
        state.learning.at_work = None;
        self.begin_telling(state)
    }

    fn begin_telling(&self, mut state: MutexGuard<'_, State>) -> Telling<'_> {
        state.telling += 1;
        state.busy_at = Instant::now();
        self.tell_news(state);
        Telling { hub: self }
    }

    /// Waits while a clip is made or waits to be made.
    pub(crate) fn wait_while_making(&self, stop: &AtomicBool) {
        const LOOK: Duration = Duration::from_millis(100);
        let mut state = self.lock();
        while !state.making.is_idle() && !state.is_ending && !stop.load(Ordering::Relaxed) {
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether there is neither client nor job for this long. If so, no client joins any more.
    pub(crate) fn ends_after(&self, idle: Duration) -> bool {
        let mut state = self.lock();
        let is_busy =
            !state.clients.is_empty() || !state.making.is_idle() || !state.learning.is_idle();
        if is_busy {
            state.busy_at = Instant::now();
        }
        state.is_ending |= state.busy_at.elapsed() >= idle;
        state.is_ending
    }

    /// Stops all jobs and takes no more.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_ending = true;
        let mut stopped = state.making.stop_all();
        stopped.extend(state.learning.stop_all());
        for (client, job) in stopped {
            if let Some(connected) = state.clients.get(&client) {
                connected.outbox.put(FromEngine::Stopped { job });
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until nothing is at work any more and all are told; false where that takes too long.
    pub(crate) fn wait_for_rest(&self, most: Duration) -> bool {
        let deadline = Instant::now() + most;
        let mut state = self.lock();
        while !state.rests() {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Sends what is left to say and takes leave of all clients.
    pub(crate) fn say_farewell(&self) {
        for connected in self.lock().clients.values() {
            connected.outbox.close();
        }
    }

    /// Tells places in the queues that have changed, and wakes who waits for a change.
    fn tell_news(&self, mut state: MutexGuard<'_, State>) {
        let mut news = state.making.news();
        news.extend(state.learning.news());
        for (client, message) in news {
            if let Some(connected) = state.clients.get(&client) {
                connected.outbox.put(message);
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_that_ends_waits_for_who_is_being_told() {
        let home = tempfile::tempdir().unwrap();
        let options = Options {
            idle: Duration::ZERO,
            clips_bytes: 1_000_000,
            memory_bytes: 1_000_000,
        };
        let hub = Hub::new(Places::under(home.path()), &options);
        let client = hub.join(Arc::new(Outbox::default())).unwrap();
        hub.learn(client, 1, Learn::Resume("village".to_owned()))
            .unwrap();
        let turn = hub.next_to_learn(Duration::from_secs(1));
        assert!(turn.is_some() && !hub.wait_for_rest(Duration::ZERO));
        let telling = hub.learned();
        assert!(!hub.wait_for_rest(Duration::ZERO));
        drop(telling);
        assert!(hub.wait_for_rest(Duration::ZERO));
    }
}
