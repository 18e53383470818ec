//! Whose turn it is: one job of each client in turn, a client's own jobs in their order.

use std::collections::VecDeque;

/// Jobs that a client may have waiting.
pub(crate) const MOST_WAITING: usize = 64;

/// Number of a connection.
pub(crate) type ClientId = u64;

/// Jobs that wait.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    /// Clients with waiting jobs; the first one's turn is next.
    clients: VecDeque<(ClientId, VecDeque<T>)>,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self {
            clients: VecDeque::new(),
        }
    }
}

impl<T> FairQueue<T> {
    /// Puts a job behind the client's others; gives it back where there are too many.
    pub(crate) fn push(&mut self, client: ClientId, job: T) -> Result<(), T> {
        let place = self.clients.iter_mut().find(|(id, _)| *id == client);
        match place {
            Some((_, jobs)) if jobs.len() >= MOST_WAITING => Err(job),
            Some((_, jobs)) => {
                jobs.push_back(job);
                Ok(())
            }
            None => {
                self.clients.push_back((client, VecDeque::from([job])));
                Ok(())
            }
        }
    }

    /// The next job; its client is the last one then.
    pub(crate) fn pop(&mut self) -> Option<(ClientId, T)> {
        let (client, mut jobs) = self.clients.pop_front()?;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.clients.push_back((client, jobs));
        }
        job.map(|job| (client, job))
    }

    /// Takes out the jobs of a client that are meant.
    pub(crate) fn remove(&mut self, client: ClientId, is_meant: impl Fn(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        if let Some((_, jobs)) = self.clients.iter_mut().find(|(id, _)| *id == client) {
            for job in std::mem::take(jobs) {
                match is_meant(&job) {
                    true => removed.push(job),
                    false => jobs.push_back(job),
                }
            }
        }
        self.clients.retain(|(_, jobs)| !jobs.is_empty());
        removed
    }

    /// All jobs in the order of their turns, if no other comes.
    pub(crate) fn in_order(&mut self) -> Vec<(ClientId, &mut T)> {
        let mut rounds = Vec::new();
        for (turn, (client, jobs)) in self.clients.iter_mut().enumerate() {
            for (round, job) in jobs.iter_mut().enumerate() {
                rounds.push(((round, turn), (*client, job)));
            }
        }
        rounds.sort_by_key(|(key, _)| *key);
        rounds.into_iter().map(|(_, job)| job).collect()
    }

    /// All jobs of a client, in their order.
    pub(crate) fn of(&self, client: ClientId) -> impl Iterator<Item = &T> {
        let own = self.clients.iter().filter(move |(id, _)| *id == client);
        own.flat_map(|(_, jobs)| jobs)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_take_turns_and_keep_their_own_order() {
        let mut queue = FairQueue::default();
        for job in ["a1", "a2", "a3"] {
            queue.push(1, job).unwrap();
        }
        queue.push(2, "b1").unwrap();
        queue.push(3, "c1").unwrap();
        queue.push(2, "b2").unwrap();
        let order: Vec<&str> = queue.in_order().into_iter().map(|(_, job)| *job).collect();
        assert_eq!(order, ["a1", "b1", "c1", "a2", "b2", "a3"]);
        let popped: Vec<&str> = std::iter::from_fn(|| queue.pop().map(|(_, job)| job)).collect();
        assert_eq!(popped, order);
        assert!(queue.is_empty());
    }

    #[test]
    fn a_client_fills_its_own_queue_alone() {
        let mut queue = FairQueue::default();
        for job in 0..MOST_WAITING {
            queue.push(1, job).unwrap();
        }
        assert_eq!(queue.push(1, 99), Err(99));
        queue.push(2, 7).unwrap();
        assert_eq!(queue.remove(1, |job| *job < 63).len(), 63);
        assert_eq!(queue.of(1).collect::<Vec<_>>(), [&63]);
        assert_eq!(queue.remove(1, |_| true), [63]);
        assert_eq!(queue.pop(), Some((2, 7)));
    }
}
