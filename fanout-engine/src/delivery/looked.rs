//! How far a worker has looked, and what has it look again.

use std::sync::Arc;

use headgate_lake::Log;
use headgate_types::ElementId;
use tokio::sync::watch;

use super::router::Following;
use super::{Flow, Worker};

/// How far a flow has looked when it had nothing to do.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The element.
    pub element: ElementId,
    /// Everything through here was looked at, or needs no look.
    pub through: u64,
    /// Says which commits concern the flow; without it, every commit does.
    pub following: Option<Arc<Following>>,
}

impl Looked {
    /// Whether there is still nothing to look at, and nothing may turn up in what is in the log.
    #[must_use]
    pub fn is_current(&self, log: &Log) -> bool {
        let head = log.head(self.element);
        match &self.following {
            Some(following) => following.clear_through(self.through) >= head,
            None => head == self.through,
        }
    }

    /// Whether there is something to look at.
    #[must_use]
    pub fn is_behind(&self, log: &Log) -> bool {
        let head = log.head(self.element);
        head > self.through && self.following.as_ref().is_none_or(|following| following.concerns(self.through))
    }

    /// Changes when there is something to look at.
    #[must_use]
    pub fn news(&self, log: &Log) -> Option<watch::Receiver<u64>> {
        match &self.following {
            Some(following) => Some(following.news()),
            None => log.watch(self.element).ok(),
        }
    }
}

impl Worker {
    /// Where the logs of the flows end now, to be told to [`Worker::looked`] after a round.
    #[must_use]
    pub fn heads(&self) -> Vec<u64> {
        self.flows.iter().map(|flow| self.context.lake.log().head(flow.key().element)).collect()
    }

    /// How far the flows looked in a round that began when the logs ended at `heads` and found
    /// nothing left to do.
    #[must_use]
    pub fn looked(&self, heads: &[u64]) -> Vec<Looked> {
        let looked = |(index, (flow, head)): (usize, (&Flow, &u64))| {
            let key = flow.key();
            // What is not to run now is not to look: every commit is looked at anew.
            let runs = self.wants(key.lane) && !self.history_first(index);
            let following = flow.following().filter(|_| runs).cloned();
            let through = if following.is_some() { flow.window.to() } else { *head };
            Looked { element: key.element, through, following }
        };
        let flows = self.flows.iter().zip(heads).enumerate();
        flows.filter(|(_, (flow, _))| !flow.finished()).map(looked).collect()
    }

    /// Whether the router has come to the ends of the logs and nothing it found is left to do.
    #[cfg(test)]
    pub fn is_current(&self, heads: &[u64]) -> bool {
        self.looked(heads).iter().all(|looked| looked.is_current(self.context.lake.log()))
    }
}
