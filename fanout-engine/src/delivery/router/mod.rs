//! The router: matches every commit once for all live flows that keep up (DATA-PLANE rules 21, 24).
//!
//! One task per element follows the log, looks each commit up in the index over the predicates of
//! the plans in use, and notes for each predicate which ranges concern it. A flow whose predicate
//! has no row in a commit is not woken for it and never looks at it. What is noted are ranges; the
//! rows found are kept only while they are fresh. A flow that is behind what is noted, because it
//! just began or did not keep up, pulls from its own cursor as if there were no router.
//!
//! Nothing here is durable: cursor and books stay with the flow.

mod following;
mod task;

use std::collections::HashMap;
use std::sync::Arc;

use headgate_lake::Lake;
use headgate_types::ElementId;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::following::{Following, Next};
use self::task::{Element, run};
use crate::calls::Calls;
use crate::shape::Plan;

/// The routers of all elements. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Router(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lake: Lake,
    elements: Mutex<HashMap<ElementId, Running>>,
    calls: Calls,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Running {
    element: Arc<Element>,
    task: JoinHandle<()>,
}

impl Router {
    /// A router that follows nothing yet.
    #[must_use]
    pub fn new(lake: Lake) -> Self {
        let (calls, stop) = (Calls::default(), CancellationToken::new());
        Self(Arc::new(Inner { lake, elements: Mutex::default(), calls, stop }))
    }

    /// Has commits matched with a plan from now on, until the result is dropped. `None`: the element
    /// is unknown to the log, or the process stops; the flow pulls by itself then.
    #[must_use]
    pub fn follow(&self, plan: &Arc<Plan>) -> Option<Route> {
        let inner = &self.0;
        let mut elements = inner.elements.lock();
        if inner.stop.is_cancelled() {
            return None;
        }
        let known = elements.get(&plan.element()).filter(|running| !running.task.is_finished());
        let element = match known {
            Some(running) => Arc::clone(&running.element),
            None => {
                let head = inner.lake.log().watch(plan.element()).ok()?;
                let element = Arc::new(Element::new(plan.element(), *head.borrow(), inner.calls.clone()));
                let task = tokio::spawn(run(self.clone(), Arc::clone(&element), head, inner.stop.clone()));
                elements.insert(plan.element(), Running { element: Arc::clone(&element), task });
                element
            }
        };
        let following = element.add(plan);
        Some(Route { router: self.clone(), element, following })
    }

    /// Calls for channels that rest: something concerns them.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.0.calls
    }

    /// Ends all tasks and waits for them.
    pub async fn close(&self) {
        self.0.stop.cancel();
        let running: Vec<Running> = self.0.elements.lock().drain().map(|(_, running)| running).collect();
        for Running { task, .. } in running {
            if let Err(error) = task.await {
                tracing::error!(%error, "the router of an element ended badly");
            }
        }
    }

    /// Ranges looked up in the index, and the predicates found concerned, since the element is
    /// followed.
    #[cfg(test)]
    pub fn counts(&self, element: ElementId) -> (u64, u64) {
        self.0.elements.lock().get(&element).map_or((0, 0), |running| running.element.counts())
    }

    fn lake(&self) -> &Lake {
        &self.0.lake
    }

    /// Forgets an element that nobody follows any more; `false`: somebody does again.
    fn forget(&self, element: &Arc<Element>) -> bool {
        let mut elements = self.0.elements.lock();
        if !element.is_empty() {
            return false;
        }
        // `close` has taken the task already when the entry is gone.
        if elements.get(&element.id).is_some_and(|running| Arc::ptr_eq(&running.element, element)) {
            elements.remove(&element.id);
        }
        true
    }
}

/// Has commits matched with a plan for as long as it lives. The plan itself may go: of a channel at
/// rest only its predicate is kept.
#[derive(Debug)]
pub struct Route {
    router: Router,
    element: Arc<Element>,
    following: Arc<Following>,
}

impl Route {
    /// The element whose commits are matched.
    #[must_use]
    pub fn element(&self) -> ElementId {
        self.element.id
    }

    /// What was noted for the plan's predicate.
    #[must_use]
    pub const fn following(&self) -> &Arc<Following> {
        &self.following
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        // Under the lock under which elements are forgotten, so that the two agree.
        let _elements = self.router.0.elements.lock();
        self.element.remove(&self.following);
    }
}
