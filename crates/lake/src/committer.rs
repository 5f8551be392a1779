//! A fair queue in front of a committer thread: while one group is being synced the next one
//! fills, and no key can fill it alone.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use crate::error::{LakeError, Result};
use crate::poison::Poison;

/// What a key may add to a group per turn, in bytes.
const QUANTUM: usize = 64 << 10;

#[derive(Debug)]
struct Lane<J> {
    jobs: VecDeque<(usize, J)>,
    deficit: usize,
}

#[derive(Debug)]
struct State<J> {
    /// Keys with work, in turn order.
    turns: VecDeque<u128>,
    lanes: HashMap<u128, Lane<J>>,
    closed: bool,
}

/// Jobs by key, taken in groups by deficit round robin (DATA-PLANE rule 37).
#[derive(Debug)]
pub(crate) struct Queue<J> {
    state: Mutex<State<J>>,
    ready: Condvar,
}

impl<J> Queue<J> {
    pub(crate) fn new() -> Self {
        let state = State { turns: VecDeque::new(), lanes: HashMap::new(), closed: false };
        Self { state: Mutex::new(state), ready: Condvar::new() }
    }

    /// Queues a job of `cost` bytes under `key`; jobs of one key keep their order.
    pub(crate) fn push(&self, key: u128, cost: usize, job: J) -> Result<()> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(LakeError::Closed);
        }
        let state = &mut *state;
        let lane = state.lanes.entry(key).or_insert_with(|| {
            state.turns.push_back(key);
            Lane { jobs: VecDeque::new(), deficit: 0 }
        });
        lane.jobs.push_back((cost, job));
        self.ready.notify_one();
        Ok(())
    }

    /// The next group of at most `limit` bytes (one job may exceed it alone). Waits for work;
    /// `None` when closed and empty.
    pub(crate) fn take(&self, limit: usize) -> Option<Vec<J>> {
        let mut state = self.state.lock();
        while state.turns.is_empty() {
            if state.closed {
                return None;
            }
            self.ready.wait(&mut state);
        }
        let mut group = Vec::new();
        let mut total = 0;
        while let Some(key) = state.turns.pop_front() {
            let Some(lane) = state.lanes.get_mut(&key) else { continue };
            lane.deficit += QUANTUM;
            let mut full = false;
            while let Some((cost, _)) = lane.jobs.front() {
                let cost = *cost;
                if cost > lane.deficit && !group.is_empty() {
                    break;
                }
                if total + cost > limit && !group.is_empty() {
                    full = true;
                    break;
                }
                lane.deficit = lane.deficit.saturating_sub(cost);
                total += cost;
                group.extend(lane.jobs.pop_front().map(|(_, job)| job));
            }
            if lane.jobs.is_empty() {
                state.lanes.remove(&key);
            } else if full {
                state.turns.push_front(key);
                break;
            } else {
                state.turns.push_back(key);
            }
        }
        Some(group)
    }

    /// No more jobs; those queued are still taken.
    pub(crate) fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_all();
    }
}

/// The thread behind a queue. Dropping it closes the queue and waits until it is worked off.
#[derive(Debug)]
pub(crate) struct Committer<J> {
    pub(crate) queue: Arc<Queue<J>>,
    thread: Option<JoinHandle<()>>,
}

impl<J: Send + 'static> Committer<J> {
    pub(crate) fn start(name: &str, poison: Poison, work: impl FnOnce(Arc<Queue<J>>) + Send + 'static) -> Result<Self> {
        let queue = Arc::new(Queue::new());
        let theirs = Arc::clone(&queue);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _abandon = Abandon(Arc::clone(&theirs), poison);
            work(theirs);
        })?;
        Ok(Self { queue, thread: Some(thread) })
    }
}

/// Lets go of queued jobs when the thread ends, panics included: their callers hear of it instead
/// of waiting for ever.
struct Abandon<J>(Arc<Queue<J>>, Poison);

impl<J> Drop for Abandon<J> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.1.set();
        }
        let mut state = self.0.state.lock();
        state.closed = true;
        state.turns.clear();
        state.lanes.clear();
    }
}

impl<J> Drop for Committer<J> {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a committer thread panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooding_key_cannot_fill_a_group_alone() {
        let queue = Queue::new();
        for index in 0..100 {
            queue.push(1, 60 << 10, (1, index)).unwrap();
        }
        queue.push(2, 10, (2, 0)).unwrap();
        let group = queue.take(1 << 20).unwrap();
        assert!(group.contains(&(2, 0)));
        assert!(group.len() > 10, "the rest of the group is the flood's: {}", group.len());
    }

    #[test]
    fn jobs_of_one_key_keep_their_order_and_none_is_lost() {
        let queue = Queue::new();
        for index in 0..50_u32 {
            for key in 0..7_u128 {
                queue.push(key, (index as usize * 7919) % 200_000, (key, index)).unwrap();
            }
        }
        queue.close();
        let mut seen: HashMap<u128, Vec<u32>> = HashMap::new();
        while let Some(group) = queue.take(300_000) {
            assert!(!group.is_empty());
            for (key, index) in group {
                seen.entry(key).or_default().push(index);
            }
        }
        assert!(seen.values().all(|indices| indices.iter().copied().eq(0..50)));
        assert_eq!(seen.len(), 7);
        assert!(queue.push(1, 1, (1, 1)).is_err());
    }
}
