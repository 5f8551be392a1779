//! A customer that works on a queue over every crash: acknowledges most of what it receives, gives some of it back until it
//! is a dead letter, and redrives or discards those.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::check::Record;
use crate::harness::world::Channel;

/// What is received this often and never acknowledged becomes a dead letter. No crash comes so often between a
/// receiving and its answer that one would without having been seen.
pub const MAX_RECEIVES: u64 = 3;
/// How often a message of those that it has trouble with is given back before it is done.
const GIVEN_BACK: u32 = 4;
/// Looks after dead letters every so many receivings.
const DEAD_EVERY: u64 = 8;

#[derive(Debug, Default)]
struct Seen {
    /// Element and record in the order they came, repeats included.
    received: Vec<(String, Record)>,
    given_back: HashMap<String, u32>,
    acknowledged: HashSet<String>,
    /// Came although their acknowledgement had been answered.
    again: Vec<String>,
}

/// A customer at work; ends with its runtime.
#[derive(Debug, Clone, Default)]
pub struct Labour {
    seen: Arc<Mutex<Seen>>,
}

impl Labour {
    /// Begins to work on a channel.
    pub fn begin(channel: Channel) -> Result<Self> {
        let labour = Self::default();
        let worker = labour.clone();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build()?;
        tokio::spawn(async move {
            for turn in 0_u64.. {
                // The product may be away, or the channel paused.
                if worker.turn(&http, &channel, turn).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        });
        Ok(labour)
    }

    /// The records of an element in the order they came, repeats included.
    pub fn records(&self, element: &str) -> Vec<Record> {
        let seen = self.seen.lock().unwrap();
        seen.received.iter().filter(|(of, _)| of == element).map(|(_, record)| record.clone()).collect()
    }

    /// Ids of records that came again although their acknowledgement had been answered.
    pub fn again(&self) -> Vec<String> {
        self.seen.lock().unwrap().again.clone()
    }

    async fn turn(&self, http: &reqwest::Client, channel: &Channel, turn: u64) -> Result<()> {
        let ask = async |path: &str, body: Value| -> Result<Value> {
            let url = format!("{}/{path}", channel.url());
            let request = http.post(url).bearer_auth(channel.secret("channel_key")).json(&body);
            Ok(request.send().await?.error_for_status()?.json().await?)
        };
        let answer = ask("receive?max=200&wait=1", json!({})).await?;
        let messages = answer["messages"].as_array().cloned().unwrap_or_default();
        let (done, back): (Vec<_>, Vec<_>) = messages.into_iter().partition(|message| self.takes(message));
        let receipts = |of: &[Value]| -> Value { of.iter().map(|message| message["receipt"].clone()).collect() };
        if !done.is_empty() {
            let answer = ask("ack", json!({"receipts": receipts(&done)})).await?;
            let gone = answer["gone"].as_array().cloned().unwrap_or_default();
            let mut seen = self.seen.lock().unwrap();
            let kept = done.iter().filter(|message| !gone.contains(&message["receipt"]));
            seen.acknowledged.extend(kept.map(|message| message["data"]["_id"].to_string()));
        }
        if !back.is_empty() {
            ask("nack", json!({"receipts": receipts(&back)})).await?;
        }
        if turn.is_multiple_of(DEAD_EVERY) {
            // What is superseded stays dead, and is of no use to anybody.
            ask("redrive", json!({})).await?;
            ask("discard", json!({})).await?;
        }
        Ok(())
    }

    /// Writes a message down; says whether it is to be acknowledged.
    fn takes(&self, message: &Value) -> bool {
        let (id, text) = (message["data"]["_id"].to_string(), |name: &str| message[name].as_str().unwrap_or_default());
        let mut seen = self.seen.lock().unwrap();
        if seen.acknowledged.contains(&id) {
            seen.again.push(id.clone());
        }
        let record = Record { lane: text("lane").to_owned(), data: message["data"].clone() };
        seen.received.push((text("element").to_owned(), record));
        // Ids are hexadecimal.
        if !id.ends_with("7\"") && !id.ends_with("e\"") {
            return true;
        }
        let times = seen.given_back.entry(id).or_default();
        *times += 1;
        *times > GIVEN_BACK
    }
}
