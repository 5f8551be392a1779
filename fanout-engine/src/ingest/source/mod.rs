//! Sources that a cloud holds: clients put records there without asking us, and we fetch them.
//!
//! The order of effects is the same for all (DATA-PLANE rule 4): what is fetched lands, under the name that its source
//! gave it, and only then the source is told. A crash in between makes a repetition, which landing knows by that name:
//! the id of a message, key and version of an object. A stream is told nothing; how far a shard was read becomes durable
//! with what was landed of it. From there on everything is as for payloads that were posted.

mod door;
mod failure;
mod kinesis;
mod place;
mod queue;
mod refused;
mod s3;
mod sqs;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use headgate_aws::SdkConfig;
use headgate_types::channel::CloudBinding;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::door::Door;
pub(super) use self::place::Place;
pub(super) use self::refused::{REFUSED, chunk as refused_chunk};
use super::Ingest;
use super::channel::OpenChannel;

/// Where a channel's records are fetched from.
#[derive(Debug, Clone)]
pub struct CloudSource {
    /// What it is.
    pub place: Place,
    /// How it is got at.
    pub cloud: CloudBinding,
}

/// How often a source is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// A queue that is empty answers after this: less than one try of a call may take.
    long_poll: Duration,
    /// The wait after a call failed.
    after_failure: Duration,
    /// Messages that were received too often are looked for.
    dead: Duration,
    /// A bucket is listed for what no notification told.
    list: Duration,
    /// Its objects younger than this are still being announced.
    unannounced: Duration,
    /// A stream is asked for its shards.
    shards: Duration,
    /// A shard is asked for records, at its fastest and while there are none.
    busy: Duration,
    idle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            long_poll: Duration::from_secs(15),
            after_failure: Duration::from_secs(2),
            dead: Duration::from_secs(60),
            list: Duration::from_secs(15 * 60),
            unannounced: Duration::from_secs(10 * 60),
            shards: Duration::from_secs(30),
            // Five calls a second are allowed for each shard.
            busy: Duration::from_millis(210),
            idle: Duration::from_secs(1),
        }
    }
}

/// How a channel stands with its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It has not been reached since the channel was opened; why, if there was an answer.
    Opening(Option<String>),
    /// Records are fetched, or nothing has to be.
    Taking,
    /// It was reached and is not now.
    Troubled(String),
}

/// What every kind of source works with.
struct Reach {
    door: Door,
    config: SdkConfig,
    standing: watch::Sender<Standing>,
    stop: CancellationToken,
    pace: Pace,
}

impl Reach {
    /// The source answered.
    fn taking(&self) {
        self.standing.send_if_modified(|standing| {
            let is_news = *standing != Standing::Taking;
            *standing = Standing::Taking;
            is_news
        });
    }

    /// Something failed; returns when it is worth another try.
    async fn trouble(&self, why: String) {
        tracing::warn!(channel = %self.door.channel.id, why, "failed to fetch from a source; will retry");
        self.standing.send_if_modified(|standing| {
            let new = match standing {
                Standing::Opening(_) => Standing::Opening(Some(why)),
                _ => Standing::Troubled(why),
            };
            let is_news = *standing != new;
            *standing = new;
            is_news
        });
        self.rest(self.pace.after_failure).await;
    }

    /// Sleeps until the time is over or the channel stops.
    async fn rest(&self, wait: Duration) {
        let _ = self.unless_stopped(tokio::time::sleep(wait)).await;
    }

    /// What the work comes to; None when the channel stops first. Nobody else waits for a cloud that does not answer.
    async fn unless_stopped<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.stop.run_until_cancelled(work).await
    }

    fn is_stopped(&self) -> bool {
        self.stop.is_cancelled()
    }
}

/// Fetches what a channel's source holds until `stop`; what is in hand by then has landed, or is given back.
pub(super) async fn run(
    ingest: Arc<Ingest>,
    channel: Arc<OpenChannel>,
    standing: watch::Sender<Standing>,
    stop: CancellationToken,
) {
    let Some(source) = channel.source.clone() else { return };
    let session = ingest.parts.cloud.session(channel.id, &source.cloud);
    let Some(config) = stop.run_until_cancelled(session).await else { return };
    let pace = ingest.pace;
    let door = Door { ingest, channel, stop: stop.clone() };
    let reach = Arc::new(Reach { door, config, standing, stop, pace });
    while !reach.is_stopped() {
        let ended = match &source.place {
            Place::Bucket { bucket, notifications } => s3::run(&reach, bucket, notifications).await,
            Place::Queue { queue, dead } => sqs::run(&reach, queue, dead.as_ref()).await,
            Place::Stream(stream) => kinesis::run(&reach, stream).await,
        };
        if let Err(failure) = ended {
            reach.trouble(failure.told()).await;
        }
    }
}
