//! A bucket of S3: one version of an object, one payload. Each is announced in a queue; since announcements can be
//! lost, the bucket is listed now and then. A version goes when it has landed, so what is listed is what is left.

mod notice;
mod object;

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_sqs::types::Message;
use futures::future::{join, join_all};

use self::notice::Notice;
use self::object::{Bucket, Object};
use super::Reach;
use super::failure::Failure;
use super::queue::Queue;
use super::sqs::receivers;
use crate::cloud::QueueName;

/// Fetches what is put into a bucket until the channel stops.
///
/// # Errors
/// The queue of notifications is not there, or not for us.
pub async fn run(reach: &Arc<Reach>, bucket: &str, notifications: &QueueName) -> Result<(), Failure> {
    let Some(found) = reach.unless_stopped(Queue::find(&reach.config, notifications)).await else { return Ok(()) };
    let queue = found?;
    let bucket = Bucket { reach, client: Client::new(&reach.config), name: bucket };
    reach.taking();
    let receivers = (0..receivers(&reach.door.channel.limits)).map(|_| receive(&bucket, &queue));
    join(join_all(receivers), reach.unless_stopped(list(&bucket))).await;
    Ok(())
}

async fn receive(bucket: &Bucket<'_>, queue: &Queue) {
    let reach = bucket.reach;
    while reach.door.open_for(1).await {
        match queue.receive(reach, reach.pace.long_poll).await {
            None => return,
            Some(Ok(messages)) => {
                reach.taking();
                // An object that is being read when the channel stops is read again later: it may be large.
                let work = queue.holding(&messages, announced(bucket, queue, &messages));
                if reach.unless_stopped(work).await.is_none() {
                    queue.give_back(messages);
                }
            }
            Some(Err(failure)) => reach.trouble(failure.told()).await,
        }
    }
}

/// Takes what messages announce, as many at once as were received: each has one chunk in memory. Those of which all was
/// taken go.
async fn announced(bucket: &Bucket<'_>, queue: &Queue, messages: &[Message]) {
    let each = messages.iter().cloned().map(|message| of_one(bucket, message));
    let done: Vec<Message> = join_all(each).await.into_iter().flatten().collect();
    if let Err(failure) = queue.delete(bucket.reach, &done).await {
        bucket.reach.trouble(failure.told()).await;
    }
}

/// Takes what a message announces; returns it when nothing is left to do with it.
async fn of_one(bucket: &Bucket<'_>, message: Message) -> Option<Message> {
    let body = message.body.as_deref().unwrap_or_default();
    let objects = match Notice::read(body) {
        Notice::Objects(objects) => objects,
        Notice::Test => Vec::new(),
        Notice::Unknown => {
            tracing::warn!(channel = %bucket.reach.door.channel.id, body, "an unknown notification is dropped");
            Vec::new()
        }
    };
    let mut is_done = true;
    for object in objects {
        is_done &= bucket.take(&object).await;
    }
    is_done.then_some(message)
}

/// Looks for versions that nobody announced. First of all for every one: what was announced to a process that has ended
/// is not announced again for some minutes.
async fn list(bucket: &Bucket<'_>) {
    let reach = bucket.reach;
    let mut unannounced = Duration::ZERO;
    while !reach.is_stopped() {
        let (mut key, mut version) = (None, None);
        while reach.door.open_for(1).await {
            let page = bucket.client.list_object_versions().bucket(bucket.name);
            let page = page.set_key_marker(key.take()).set_version_id_marker(version.take()).send().await;
            let page = match page.map_err(Failure::of("listing the bucket")) {
                Ok(page) => page,
                // From its beginning again: what was taken is gone from it.
                Err(failure) => {
                    reach.trouble(failure.told()).await;
                    continue;
                }
            };
            for found in page.versions.unwrap_or_default() {
                let put_at = found.last_modified.map_or(0, |at| at.secs());
                let age = reach.door.ingest.parts.clock.now().timestamp() - put_at;
                let Some(name) = found.key else { continue };
                if Duration::from_secs(age.max(0).unsigned_abs()) < unannounced {
                    continue;
                }
                let size = found.size.and_then(|size| u64::try_from(size).ok());
                let object = Object { key: name, version: found.version_id, size, is_latest: found.is_latest };
                bucket.take(&object).await;
            }
            if page.is_truncated != Some(true) {
                break;
            }
            (key, version) = (page.next_key_marker, page.next_version_id_marker);
        }
        unannounced = reach.pace.unannounced;
        reach.rest(reach.pace.list).await;
    }
}
