//! The worker carries orders out: it leases a channel, does one step of its order, saves, and
//! looks for the next.

mod backoff;
pub(crate) mod lease;
mod record;
pub(crate) mod turn;

use std::sync::Arc;
use std::time::Duration;

use headgate_access::Access;
use headgate_database::{Db, DbError, Signal};
use headgate_events::Events;
use headgate_types::SharedClock;
use headgate_types::engine::Engine;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::driver::Drivers;
use crate::error::OrderError;
use crate::failpoint::{Killed, NoFailpoints, SharedFailpoints};
use crate::orders::store;
use crate::profiles::Profiles;

/// What keeps a worker from asking in a circle when another was faster.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// How the worker behaves.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Names this worker in leases. No two that run at once have one name; the process that follows
    /// another on the same data directory has its name again.
    pub name: String,
    /// Orders carried out at once.
    pub concurrency: usize,
    /// How long a lease lasts. A worker that dies is replaced after this; a living one renews it.
    pub lease: Duration,
    /// How often the table is looked at when nothing wakes the worker.
    pub poll: Duration,
    /// Failed attempts of a step before its order fails.
    pub max_attempts: u32,
    /// The wait after the first failed attempt; it doubles from there.
    pub retry_base: Duration,
    /// The longest wait between attempts.
    pub retry_cap: Duration,
    /// How long the engine may take to open a channel before the order fails.
    pub serve_deadline: Duration,
    /// How long pausing, and undoing a create order, wait for what is in flight. Deleting waits
    /// for as long as it takes.
    pub drain_deadline: Duration,
    /// How long one call of the driver may take.
    pub act_deadline: Duration,
    /// The public address of the data listener, in the endpoints that owners are told.
    pub data_url: Url,
}

impl WorkerConfig {
    /// The usual behaviour.
    #[must_use]
    pub fn new(name: impl Into<String>, data_url: Url) -> Self {
        Self {
            name: name.into(),
            concurrency: 4,
            lease: Duration::from_secs(60),
            poll: Duration::from_secs(1),
            max_attempts: 8,
            retry_base: Duration::from_secs(1),
            retry_cap: Duration::from_secs(300),
            serve_deadline: Duration::from_secs(600),
            drain_deadline: Duration::from_secs(60),
            act_deadline: Duration::from_secs(600),
            data_url,
        }
    }
}

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct WorkerParts {
    /// The control part of the database.
    pub control: Db,
    /// What time it is.
    pub clock: SharedClock,
    /// Issues and revokes credentials.
    pub access: Access,
    /// Told when events were written.
    pub events: Events,
    /// The data plane.
    pub engine: Arc<dyn Engine>,
    /// Make and remove resources.
    pub drivers: Drivers,
    /// What can be ordered.
    pub profiles: Arc<Profiles>,
    /// Wakes the worker when an order was placed.
    pub signal: Signal,
    /// How it behaves.
    pub config: WorkerConfig,
}

/// What one look at the table came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// A step was taken.
    Worked,
    /// No order is due.
    Idle,
}

/// Why a turn did not come to its end. The order stays as it was saved last and is taken up again
/// when the lease ends.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Another worker has the channel: this one was away for longer than its lease.
    #[error("the lease of the channel was lost")]
    LeaseLost,
    /// A test ended the worker.
    #[error(transparent)]
    Killed(#[from] Killed),
    /// The order could not be read or saved.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Carries orders out. Cheap to clone; several may run, in one process or many.
#[derive(Debug, Clone)]
pub struct Worker {
    pub(crate) parts: Arc<WorkerParts>,
    failpoints: SharedFailpoints,
}

impl Worker {
    /// A worker over `parts`.
    #[must_use]
    pub fn new(parts: WorkerParts) -> Self {
        Self::with_failpoints(parts, NoFailpoints::shared())
    }

    /// The same with failpoints, for tests.
    #[must_use]
    pub fn with_failpoints(parts: WorkerParts, failpoints: SharedFailpoints) -> Self {
        Self { parts: Arc::new(parts), failpoints }
    }

    /// Ends the leases that a process of this worker's name left behind when it was killed. Only for
    /// whoever knows that it is gone: the lock of the data directory says so.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_over(&self) -> Result<u64, DbError> {
        let prefix = format!("{}/", self.parts.config.name);
        self.end_leases(|owner| owner.starts_with(&prefix)).await
    }

    async fn end_leases(&self, fits: impl Fn(&str) -> bool) -> Result<u64, DbError> {
        let mut tx = self.parts.control.platform().await?;
        let ended = lease::end_all(&mut tx, fits, self.parts.clock.now()).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Carries orders out until `shutdown`; the step at hand is finished first.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut turns = JoinSet::new();
        for number in 0..self.parts.config.concurrency.max(1) {
            let (worker, shutdown) = (self.clone(), shutdown.clone());
            let owner = format!("{}/{number}", self.parts.config.name);
            turns.spawn(async move { worker.run_as(&owner, &shutdown).await });
        }
        while let Some(ended) = turns.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "an order worker ended unexpectedly");
            }
        }
    }

    async fn run_as(&self, owner: &str, shutdown: &CancellationToken) {
        let mut failed = false;
        while !shutdown.is_cancelled() {
            // A turn that failed may have left its lease, even one it never heard of: the database
            // may have gone between a commit and its answer. This owner takes one turn at a time.
            let turned = match failed {
                true => self.end_leases(|of| of == owner).await.map(|_| Turned::Worked).map_err(WorkerError::from),
                false => self.turn(owner).await,
            };
            failed = turned.is_err();
            let pause = match turned {
                Ok(Turned::Worked) => continue,
                Ok(Turned::Idle) => self.until_next().await.unwrap_or(self.parts.config.poll),
                Err(error) => {
                    tracing::error!(%error, owner, "failed to carry an order out; it is taken up again");
                    self.parts.config.poll
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.parts.signal.wait(pause) => {}
            }
        }
    }

    /// How long nothing is due, at most until the next look.
    async fn until_next(&self) -> Result<Duration, DbError> {
        let now = self.parts.clock.now();
        let mut tx = self.parts.control.read_platform().await?;
        let next = store::next_due(&mut tx, now).await?;
        let wait = next.map_or(self.parts.config.poll, |next| (next - now).to_std().unwrap_or_default());
        Ok(wait.clamp(SHORTEST_PAUSE.min(self.parts.config.poll), self.parts.config.poll))
    }

    /// Takes one step of one order, if one is due.
    ///
    /// # Errors
    /// When the database fails; nothing of the step is saved then.
    pub async fn run_once(&self) -> Result<Turned, WorkerError> {
        self.turn(&self.parts.config.name).await
    }

    /// Takes steps until no order is due at the clock's time.
    ///
    /// # Errors
    /// As [`Worker::run_once`].
    pub async fn run_until_idle(&self) -> Result<(), WorkerError> {
        while self.run_once().await? == Turned::Worked {}
        Ok(())
    }
}
