//! A queue of SQS: one message, one payload, under the message's id.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_sqs::types::Message;
use bytes::Bytes;
use futures::future::{join, join_all};
use headgate_types::limits::Limits;

use super::Reach;
use super::door::{Held, Piece};
use super::failure::Failure;
use super::queue::{BATCH, Queue};
use crate::cloud::QueueName;

/// The most bytes of a received batch: ten messages of the largest kind there is.
const BATCH_BYTES: u64 = BATCH as u64 * (256 << 10);
/// Connections of the size for each receiver; each moves up to some hundred messages a second.
const CONNECTIONS_EACH: u32 = 8;
const MOST_RECEIVERS: u32 = 32;

/// Empties a queue until the channel stops.
///
/// # Errors
/// The queue is not there, or not for us.
pub async fn run(reach: &Arc<Reach>, name: &QueueName, dead: Option<&QueueName>) -> Result<(), Failure> {
    let find = async {
        let dead = match dead {
            Some(name) => Some(Queue::find(&reach.config, name).await?),
            None => None,
        };
        Ok((Queue::find(&reach.config, name).await?, dead))
    };
    let Some(found) = reach.unless_stopped(find).await else { return Ok(()) };
    let (queue, dead) = found?;
    reach.taking();
    let receivers = (0..receivers(&reach.door.channel.limits)).map(|_| receive(reach, &queue));
    join(join_all(receivers), async {
        if let Some(dead) = &dead {
            receive_dead(reach, dead).await;
        }
    })
    .await;
    Ok(())
}

/// Receivers at once.
pub fn receivers(limits: &Limits) -> u32 {
    (limits.connections / CONNECTIONS_EACH).clamp(1, MOST_RECEIVERS)
}

async fn receive(reach: &Reach, queue: &Queue) {
    let mut landed = Vec::new();
    loop {
        // What has landed goes while more is on its way.
        let removing = std::mem::take(&mut landed);
        let next = async {
            if reach.door.open_for(BATCH_BYTES).await { queue.receive(reach, reach.pace.long_poll).await } else { None }
        };
        let (removed, received) = join(queue.delete(reach, &removing), next).await;
        if let Err(failure) = removed {
            reach.trouble(failure.told()).await;
        }
        match received {
            None => return,
            Some(Ok(messages)) => landed = land(reach, queue, messages).await,
            Some(Err(failure)) => reach.trouble(failure.told()).await,
        }
    }
}

/// Messages that nobody kept long enough: we have been away, and they are as good as others.
async fn receive_dead(reach: &Reach, dead: &Queue) {
    while !reach.is_stopped() {
        reach.rest(reach.pace.dead).await;
        while reach.door.open_for(BATCH_BYTES).await {
            let received = match dead.receive(reach, Duration::ZERO).await {
                Some(Ok(messages)) if !messages.is_empty() => {
                    let landed = land(reach, dead, messages).await;
                    dead.delete(reach, &landed).await
                }
                Some(Err(failure)) => Err(failure),
                _ => break,
            };
            if let Err(failure) = received {
                reach.trouble(failure.told()).await;
            }
        }
    }
}

/// Lands messages in the order they came; returns those that may be removed from the queue.
async fn land(reach: &Reach, queue: &Queue, messages: Vec<Message>) -> Vec<Message> {
    reach.taking();
    let pieces: Vec<Piece> = messages.iter().filter_map(|message| piece(reach, message)).collect();
    match queue.holding(&messages, reach.land(&pieces, None)).await {
        Ok(()) => messages,
        Err(Held::Stopped | Held::Overtaken) => {
            queue.give_back(messages);
            Vec::new()
        }
    }
}

fn piece(reach: &Reach, message: &Message) -> Option<Piece> {
    let key = message.message_id.as_ref().map(|id| format!("sqs:{id}"));
    let attribute = |wanted: &str| {
        let mut all = message.message_attributes.iter().flatten();
        let found = all.find(|(name, _)| name.to_ascii_lowercase().replace('_', "-") == wanted);
        found.and_then(|(_, value)| value.string_value.as_deref())
    };
    let door = &reach.door;
    let content_type = attribute("content-type").unwrap_or("application/json");
    let body = Bytes::from(message.body.clone().unwrap_or_default());
    match door.record(door.feed(attribute("feed")), key.clone(), content_type, body) {
        Ok(piece) => Some(piece),
        Err(untaken) => door.untaken(key, &untaken),
    }
}
