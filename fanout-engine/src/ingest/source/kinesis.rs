//! A stream of Kinesis: each shard is read in order, from its oldest record on, and how far becomes durable with what was
//! landed of it. A shard that came out of others is read when those are read to their ends, so the records of a key keep
//! their order however the stream is split and merged.

mod shard;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::Shard;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use self::shard::Ended;
use super::Reach;
use super::failure::Failure;

/// The most bytes of one answer.
const ANSWER_BYTES: u64 = 10 << 20;

/// How far a shard was landed, as the landing zone keeps it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    /// The sequence number of the last record; none before the first.
    after: Option<String>,
    /// Whether there is nothing behind it for good.
    #[serde(default)]
    is_ended: bool,
}

/// A stream that is read.
struct Stream {
    reach: Arc<Reach>,
    client: Client,
    name: String,
    /// Answers that may be in memory at once.
    answers: Semaphore,
}

/// Reads a stream until the channel stops.
///
/// # Errors
/// The stream is not there, or not for us.
pub async fn run(reach: &Arc<Reach>, name: &str) -> Result<(), Failure> {
    let answers = reach.door.channel.limits.memory_bytes / ANSWER_BYTES;
    let stream = Stream {
        reach: Arc::clone(reach),
        client: Client::new(&reach.config),
        name: name.to_owned(),
        answers: Semaphore::new(usize::try_from(answers).unwrap_or(usize::MAX).clamp(1, 1_024)),
    };
    let Some(found) = reach.unless_stopped(stream.shards()).await else { return Ok(()) };
    let mut shards = found?;
    reach.taking();
    let mut reading = FuturesUnordered::new();
    let mut running: HashSet<String> = HashSet::new();
    while !reach.is_stopped() {
        if let Some(stored) = stream.stored().await {
            for shard in ready(&shards, &stored, &running) {
                running.insert(shard.clone());
                let stored = stored.get(&shard).cloned();
                reading.push(stream.read(shard, stored));
            }
        }
        tokio::select! {
            () = reach.stop.cancelled() => {}
            Some((shard, ended)) = reading.next(), if !reading.is_empty() => {
                running.remove(&shard);
                if ended == Ended::Overtaken {
                    tracing::error!(shard, "a shard was read by somebody else, too; it is taken up where that is");
                }
            }
            () = tokio::time::sleep(reach.pace.shards) => {}
        }
        match reach.unless_stopped(stream.shards()).await {
            None => break,
            Some(Ok(now)) => shards = now,
            Some(Err(failure)) => reach.trouble(failure.told()).await,
        }
    }
    // What is in hand lands, or is read again.
    while reading.next().await.is_some() {}
    Ok(())
}

/// Shards that can be begun: not read by anybody, not ended, and none of their parents has records left.
fn ready(shards: &[Shard], stored: &HashMap<String, String>, running: &HashSet<String>) -> Vec<String> {
    let is_ended = |shard: &str| stored.get(shard).is_some_and(|text| mark_of(Some(text)).is_ended);
    let listed: HashSet<&str> = shards.iter().map(|shard| shard.shard_id.as_str()).collect();
    let is_open = |shard: &&Shard| {
        let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
        // A parent that is not listed any more is older than what the stream keeps.
        let waits = parents.into_iter().flatten().any(|parent| listed.contains(parent.as_str()) && !is_ended(parent));
        !waits && !is_ended(&shard.shard_id) && !running.contains(&shard.shard_id)
    };
    shards.iter().filter(is_open).map(|shard| shard.shard_id.clone()).collect()
}

fn mark_of(stored: Option<&str>) -> Mark {
    stored.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

impl Stream {
    async fn shards(&self) -> Result<Vec<Shard>, Failure> {
        let (mut all, mut next): (Vec<Shard>, Option<String>) = (Vec::new(), None);
        loop {
            let asked = match next.take() {
                // A later page is of the stream of the first.
                Some(token) => self.client.list_shards().next_token(token),
                None => self.client.list_shards().stream_name(&self.name),
            };
            let page = asked.send().await.map_err(Failure::of("listing the stream's shards"))?;
            all.extend(page.shards.unwrap_or_default());
            next = page.next_token;
            if next.is_none() {
                return Ok(all);
            }
        }
    }

    /// How far each shard was landed, as text; none when that cannot be read just now.
    async fn stored(&self) -> Option<HashMap<String, String>> {
        let door = &self.reach.door;
        match door.ingest.parts.lake.landing().checkpoints(door.channel.id).await {
            Ok(stored) => Some(stored.into_iter().collect()),
            Err(error) => {
                self.reach.trouble(format!("the stream's checkpoints cannot be read: {error}")).await;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: [Option<&str>; 2]) -> Shard {
        let [parent, adjacent] = parents.map(|parent| parent.map(str::to_owned));
        Shard::builder()
            .shard_id(id)
            .set_parent_shard_id(parent)
            .set_adjacent_parent_shard_id(adjacent)
            .build()
            .unwrap()
    }

    #[test]
    fn a_shard_waits_for_both_its_parents_but_not_for_those_that_are_gone() {
        let shards = [
            shard("a", [None; 2]),
            shard("b", [None; 2]),
            shard("of-both", [Some("a"), Some("b")]),
            shard("of-gone", [Some("z"), None]),
        ];
        let mark = |is_ended| serde_json::to_string(&Mark { after: Some("1".to_owned()), is_ended }).unwrap();
        let ready = |marks: &[(&str, bool)], running: &[&str]| {
            let stored = marks.iter().map(|(id, ended)| ((*id).to_owned(), mark(*ended))).collect();
            ready(&shards, &stored, &running.iter().map(|id| (*id).to_owned()).collect())
        };
        assert_eq!(ready(&[], &[]), ["a", "b", "of-gone"]);
        assert_eq!(ready(&[("a", true)], &["of-gone"]), ["b"]);
        assert_eq!(ready(&[("a", true), ("b", false)], &["b", "of-gone"]), [""; 0]);
        assert_eq!(ready(&[("a", true), ("b", true)], &["of-gone"]), ["of-both"]);
    }
}
