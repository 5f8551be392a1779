//! Sources under load: each sends one payload after the other and writes down what it was told.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::ledger::{Fate, Ledger, Payload, Row};
use crate::harness::world::Channel;

/// Rows of a usual payload.
const ROWS: std::ops::RangeInclusive<usize> = 1..=25;
/// Text that makes a payload larger than what the landing zone keeps in its table (1 MiB).
const PADDING: usize = 60_000;
/// Keys of one entity source.
const KEYS: usize = 8;

/// Payloads that a source without pauses sends.
const AT_ONCE: u64 = 300;

/// What an attempt to send ended in.
enum Answer {
    Accepted {
        receipt: String,
        duplicate: bool,
    },
    Refused {
        status: u16,
        code: String,
    },
    /// It may have arrived.
    Unknown,
}

/// One sender; nobody else sends its rows.
pub struct Source {
    /// Unique in the round; rows name it.
    pub name: String,
    /// The data-in channel.
    pub channel: Channel,
    /// Its index in the ledger.
    pub index: usize,
    /// The feed.
    pub feed: &'static str,
    /// Whether the feed's element is the entity.
    pub entity: bool,
    http: reqwest::Client,
    rng: StdRng,
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    short: bool,
    fast: bool,
    no_room: Arc<AtomicU64>,
    sent: u64,
    present: BTreeSet<String>,
}

impl Source {
    /// A sender into `feed` of a channel.
    pub fn new(name: &str, channel: (usize, &Channel), feed: &'static str, seed: u64, shared: &Shared) -> Self {
        Self {
            name: name.to_owned(),
            channel: channel.1.clone(),
            index: channel.0,
            feed,
            entity: feed == "things",
            http: reqwest::Client::builder().timeout(Duration::from_secs(15)).build().unwrap(),
            rng: StdRng::seed_from_u64(seed),
            ledger: shared.ledger.clone(),
            stop: Arc::clone(&shared.stop),
            short: shared.short,
            fast: shared.fast,
            no_room: Arc::clone(&shared.no_room),
            sent: 0,
            present: BTreeSet::new(),
        }
    }

    /// Sends until it is told to stop; then no payload is left between sent and known.
    pub async fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            self.turn().await;
            // An entity's history is looked at change by change: it stays readable.
            if !self.fast || self.entity || self.sent > AT_ONCE {
                let pause = self.rng.gen_range(2..40);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
    }

    /// Sends one payload.
    pub async fn turn(&mut self) {
        if self.rng.gen_bool(0.05) {
            self.repeat_an_old_one().await;
        }
        self.sent += 1;
        let before = self.present.clone();
        let rows = if self.entity { self.changes() } else { self.events() };
        let mut payload = Payload {
            channel: self.index,
            feed: self.feed.to_owned(),
            key: format!("{}-{}", self.name, self.sent),
            rows,
            fate: Fate::Unknown,
        };
        // An entity's source must know: what it sends next depends on it.
        let gives_up = !self.entity && self.rng.gen_bool(0.3);
        let mut attempts = 0;
        payload.fate = loop {
            attempts += 1;
            match self.send(&payload).await {
                Answer::Accepted { receipt, duplicate } => {
                    if duplicate && attempts == 1 {
                        self.ledger.problem(format!("{}: a new payload was called a duplicate", payload.key));
                    }
                    break Fate::Acknowledged { receipt };
                }
                // Of a second attempt this says nothing about the first.
                Answer::Refused { status, code } if attempts == 1 => {
                    let told = matches!(status, 0 | 404 | 409 | 429 | 503) || self.short && status == 507;
                    if !told {
                        self.ledger.problem(format!("{}: refused with {status} {code}", payload.key));
                    }
                    break Fate::Refused;
                }
                Answer::Refused { .. } => {}
                Answer::Unknown if gives_up => break Fate::Unknown,
                Answer::Unknown => self.ledger.lock().resent += 1,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        if payload.fate == Fate::Refused {
            self.present = before;
        }
        let mut sent = self.ledger.lock();
        if self.entity { sent.things.push(payload) } else { sent.events.push(payload) }
    }

    /// Sends an acknowledged payload again, as a client that lost the answer would.
    async fn repeat_an_old_one(&mut self) {
        let old = {
            let sent = self.ledger.lock();
            let all = if self.entity { &sent.things } else { &sent.events };
            let own = format!("{}-", self.name);
            let mine: Vec<&Payload> = all
                .iter()
                .filter(|payload| payload.key.starts_with(&own) && matches!(payload.fate, Fate::Acknowledged { .. }))
                .collect();
            if mine.is_empty() {
                return;
            }
            mine[self.rng.gen_range(0..mine.len())].clone()
        };
        self.ledger.lock().resent += 1;
        let Fate::Acknowledged { receipt: first } = &old.fate else { return };
        if let Answer::Accepted { receipt, duplicate } = self.send(&old).await
            && (!duplicate || receipt != *first)
        {
            self.ledger.problem(format!("{}: sent again and not recognised", old.key));
        }
    }

    async fn send(&self, payload: &Payload) -> Answer {
        let lines: Vec<String> = payload.rows.iter().map(|row| row.json.to_string()).collect();
        let request = self
            .http
            .post(format!("{}/{}", self.channel.url(), payload.feed))
            .bearer_auth(self.channel.secret("channel_key"))
            .header("content-type", "application/x-ndjson")
            .header("idempotency-key", &payload.key)
            .body(lines.join("\n"));
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Answer::Refused { status: 0, code: "no connection".into() },
            Err(_) => return Answer::Unknown,
        };
        let status = response.status().as_u16();
        if status == 507 {
            self.no_room.fetch_add(1, Ordering::Relaxed);
        }
        // Who is to come again is told when.
        if matches!(status, 429 | 503 | 507) && !response.headers().contains_key("retry-after") {
            self.ledger.problem(format!("{}: {status} without Retry-After", payload.key));
        }
        // An answer cut short is no answer; neither is a failure of the server.
        let Ok(body) = response.json::<Value>().await else { return Answer::Unknown };
        match status {
            202 => Answer::Accepted {
                receipt: body["receipt"].as_str().unwrap_or_default().to_owned(),
                duplicate: body["duplicate"] == true,
            },
            500 => {
                if self.short {
                    self.ledger.problem(format!("{}: 500 {body}", payload.key));
                }
                Answer::Unknown
            }
            // A sync failed: nothing is promised, and it may be there all the same.
            503 if body["code"] == "storage_failed" => Answer::Unknown,
            _ => Answer::Refused { status, code: body["code"].as_str().unwrap_or_default().to_owned() },
        }
    }

    fn events(&mut self) -> Vec<Row> {
        let large = self.rng.gen_bool(0.01);
        let count = if large { 20 } else { self.rng.gen_range(ROWS) };
        let wrong = self.rng.gen_bool(0.1).then(|| self.rng.gen_range(0..count));
        (0..count)
            .map(|index| {
                let id = format!("{}-{}-{index}", self.name, self.sent);
                let kind = ["a", "b", "c"][self.rng.gen_range(0..3)];
                let mut json = json!({
                    "id": id, "source": self.name, "n": self.sent * 1_000 + index as u64,
                    "kind": kind,
                    "value": f64::from(self.rng.gen_range(0..10_000)) + 0.25,
                    "pad": if large { "x".repeat(PADDING) } else { String::new() },
                });
                if wrong == Some(index) {
                    json["value"] = json!("many");
                }
                Row { id, json, wrong: wrong == Some(index) }
            })
            .collect()
    }

    fn changes(&mut self) -> Vec<Row> {
        let count = self.rng.gen_range(1..=6);
        (0..count)
            .map(|index| {
                let id = format!("{}-{}", self.name, self.rng.gen_range(0..KEYS));
                if self.present.contains(&id) && self.rng.gen_bool(0.15) {
                    self.present.remove(&id);
                    return Row { json: json!({"id": id, "_op": "delete"}), id, wrong: false };
                }
                self.present.insert(id.clone());
                let zone = ["x", "y"][self.rng.gen_range(0..2)];
                let json = json!({"id": id, "rev": self.sent * 1_000 + index, "zone": zone});
                Row { id, json, wrong: false }
            })
            .collect()
    }
}

/// What all sources of a round share.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// What was sent.
    pub ledger: Ledger,
    /// Set when the load ends.
    pub stop: Arc<AtomicBool>,
    /// Whether the disk runs short: then 507 is an answer, and 500 is none.
    pub short: bool,
    /// Whether nobody pauses between two payloads.
    pub fast: bool,
    /// Payloads that heard 507.
    pub no_room: Arc<AtomicU64>,
}
