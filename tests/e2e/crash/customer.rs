//! A customer who keeps ordering: channels come and go, are paused, resumed and resized. Several
//! order at once and get in each other's way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::world::insist;
use crate::harness::ApiClient;

/// How long an order may go without a final answer; longer than any kill keeps the product away.
const PATIENCE: Duration = Duration::from_secs(40);
/// Short-lived channels of one customer that exist at once.
const MOST: usize = 2;

/// A channel that was ordered during the load.
#[derive(Debug, Clone)]
pub struct Ordered {
    /// Its id.
    pub id: String,
    /// Its profile.
    pub profile: &'static str,
    /// The order that makes it.
    pub order: String,
    /// Its key, once it was revealed.
    pub key: Option<String>,
    /// Whether deleting it was accepted.
    pub deleted: bool,
}

/// The customer.
pub struct Customer {
    /// What it ordered.
    pub ordered: Vec<Ordered>,
    /// Orders that were accepted.
    pub accepted: u64,
    api: ApiClient,
    provider: ApiClient,
    events: String,
    mains: Vec<String>,
    input: String,
    only_comes_and_goes: bool,
    rng: StdRng,
    ledger: Ledger,
    seed: u64,
    count: u64,
}

/// What the customer may touch.
#[derive(Clone)]
pub struct Reach {
    /// The consumer's client.
    pub consumer: ApiClient,
    /// The provider's client.
    pub provider: ApiClient,
    /// The element that new channels carry.
    pub events: String,
    /// Paths of the consumer's lasting channels.
    pub mains: Vec<String>,
    /// Path of the data-in channel that is paused at times.
    pub input: String,
    /// Whether nothing is paused and nothing resized.
    pub only_comes_and_goes: bool,
}

impl Customer {
    /// A customer with nothing ordered yet.
    pub fn new(reach: Reach, seed: u64, ledger: Ledger) -> Self {
        Self {
            ordered: Vec::new(),
            accepted: 0,
            api: reach.consumer,
            provider: reach.provider,
            events: reach.events,
            mains: reach.mains,
            input: reach.input,
            only_comes_and_goes: reach.only_comes_and_goes,
            rng: StdRng::seed_from_u64(seed),
            ledger,
            seed,
            count: 0,
        }
    }

    /// Orders until it is told to stop. What it paused stays paused.
    pub async fn run(mut self, stop: Arc<AtomicBool>) -> Self {
        while !stop.load(Ordering::Relaxed) {
            self.turn().await;
            let pause = self.rng.gen_range(30..300);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        self
    }

    async fn turn(&mut self) {
        let living: Vec<usize> = (0..self.ordered.len()).filter(|index| !self.ordered[*index].deleted).collect();
        // Who only comes and goes keeps nobody from working.
        let kinds = if self.only_comes_and_goes { 5 } else { 10 };
        match self.rng.gen_range(0..kinds) {
            0..=2 if living.len() < MOST => self.create().await,
            3..=4 if !living.is_empty() => {
                let index = living[self.rng.gen_range(0..living.len())];
                self.reveal(index).await;
                self.delete(index).await;
            }
            5 => {
                let path = self.input.clone();
                let verb = if self.rng.gen_bool(0.4) { "pause" } else { "resume" };
                self.send(true, Method::POST, &format!("{path}/{verb}"), None).await;
            }
            6..=7 => {
                let path = self.mains[self.rng.gen_range(0..self.mains.len())].clone();
                let verb = if self.rng.gen_bool(0.5) { "pause" } else { "resume" };
                self.send(false, Method::POST, &format!("{path}/{verb}"), None).await;
            }
            8 => {
                let path = self.mains[self.rng.gen_range(0..self.mains.len())].clone();
                let size = ["M", "L", "XL"][self.rng.gen_range(0..3)];
                let body = json!({"performance_profile": size});
                self.send(false, Method::PATCH, &path, Some(&body)).await;
            }
            _ => {
                for index in living {
                    self.reveal(index).await;
                }
            }
        }
    }

    async fn create(&mut self) {
        let profile = ["api", "file", "stream"][self.rng.gen_range(0..3)];
        let options = if profile == "file" { json!({"format": "ndjson", "roll_seconds": 1}) } else { json!({}) };
        let body = json!({
            "name": "passing", "channel_profile": profile, "performance_profile": "L",
            "data": [{"element": self.events, "filter": "kind = 'c'"}], "output_data_model": {"options": options},
        });
        if let Some(answer) = self.send(false, Method::POST, "/v1/data-out-channels", Some(&body)).await {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (id, order) = (text(&answer["channel"]["id"]), text(&answer["order"]["id"]));
            self.ordered.push(Ordered { id, profile, order, key: None, deleted: false });
        }
    }

    async fn delete(&mut self, index: usize) {
        let path = format!("/v1/data-out-channels/{}", self.ordered[index].id);
        if self.send(false, Method::DELETE, &path, None).await.is_some() {
            self.ordered[index].deleted = true;
        }
    }

    /// Reveals the key of a channel if its order issued one. A claim whose answer is lost in a crash
    /// is used up; the key is then unknown for good.
    pub async fn reveal(&mut self, index: usize) {
        let channel = &mut self.ordered[index];
        if channel.key.is_some() {
            return;
        }
        let Ok(order) = self.api.get(&format!("/v1/orders/{}", channel.order)).await else { return };
        let Some(claim) = order["result"]["credentials"][0]["claim"].as_str() else { return };
        if let Ok(answer) = self.api.post(&format!("/v1/credential-claims/{claim}/reveal"), &json!({})).await {
            channel.key = answer["secret"].as_str().map(str::to_owned);
        }
    }

    /// Sends one order until it has a final answer; the body of a 202.
    async fn send(&mut self, provider: bool, method: Method, path: &str, body: Option<&Value>) -> Option<Value> {
        self.count += 1;
        let key = format!("customer-{}-{}", self.seed, self.count);
        let api = if provider { self.provider.clone() } else { self.api.clone() };
        let Some(answer) = insist(&api, method.clone(), path, body, &key, PATIENCE).await else {
            self.ledger.problem(format!("{method} {path} had no final answer in {PATIENCE:?}"));
            return None;
        };
        match answer.status.as_u16() {
            202 => {
                self.accepted += 1;
                Some(answer.body)
            }
            // In another state, or another order is under way, or like that already.
            409 | 422 => None,
            status => {
                self.ledger.problem(format!("{method} {path} answered {status}: {}", answer.body));
                None
            }
        }
    }
}
