//! After the storm: the product comes to rest, and everything it promised is looked at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::check::{self, Record};
use super::customer::Customer;
use super::figures::Figures;
use super::ledger::{Fate, Ledger, Payload, Sent};
use super::world::{World, all, insist, read};
use crate::harness::world::Channel;
use crate::harness::{ApiClient, Platform};

/// How long the product may take to bring everything to its end.
const PATIENCE: Duration = Duration::from_secs(60);
/// Whatever takes longer is told.
const SLOW: Duration = Duration::from_secs(5);
/// The profiles of [`World::outputs`].
const PROFILES: [&str; 5] = ["api", "file", "stream", "webhook", "queue"];

/// Looks again until nothing is wrong, or says what still is after [`PATIENCE`].
async fn settled(what: &str, mut look: impl AsyncFnMut(&mut Vec<String>) -> Result<()>) -> Result<()> {
    let start = Instant::now();
    let mut last = String::new();
    loop {
        let mut problems = Vec::new();
        if let Err(error) = look(&mut problems).await {
            problems.push(format!("{error:#}"));
        }
        if problems.is_empty() {
            if start.elapsed() > SLOW {
                eprintln!("{what}: settled after {:.1} s; before: {last}", start.elapsed().as_secs_f64());
            }
            return Ok(());
        }
        if start.elapsed() > PATIENCE {
            let count = problems.len();
            problems.truncate(5);
            bail!("{what}, {count} problems:\n{}", problems.join("\n"));
        }
        last = problems.swap_remove(0);
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

fn is_over(order: &Value) -> bool {
    matches!(order["state"].as_str(), Some("SUCCEEDED" | "FAILED" | "CANCELLED"))
}

/// Resumes every channel that is paused, once every order is over: one that is still on its way may
/// be another pause.
pub async fn resume(world: &World) -> Result<()> {
    orders(world).await?;
    let channels = world.outputs.iter().map(|channel| (&world.consumer.api, &channel.path));
    let channels = channels.chain(world.inputs.iter().map(|channel| (&world.provider.api, &channel.path)));
    let mut attempts = 0;
    for (api, path) in channels {
        settled(&format!("{path} does not become ACTIVE"), async |problems| {
            let channel = api.get(path).await?;
            if channel["state"] == "PAUSED" {
                attempts += 1;
                let (path, key) = (format!("{path}/resume"), format!("rest-{attempts}"));
                insist(api, Method::POST, &path, None, &key, PATIENCE).await.context("resuming has no answer")?;
            }
            if channel["state"] != "ACTIVE" {
                problems.push(format!("it is {}: {}", channel["state"], channel["status"]));
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Follows a stream channel over every crash; what it saw at each position.
pub async fn follow(channel: Channel, stop: Arc<AtomicBool>) -> BTreeMap<u64, Value> {
    let mut seen = BTreeMap::new();
    let mut after = "earliest".to_owned();
    let Ok(http) = reqwest::Client::builder().timeout(Duration::from_secs(10)).build() else { return seen };
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let url = format!("{}/records?after={after}&limit=1000&wait=1", channel.url());
        let Ok(response) = http.get(url).bearer_auth(channel.secret("channel_key")).send().await else { continue };
        let next = response.headers().get("headgate-next-position").and_then(|next| next.to_str().ok());
        let (true, Some(next)) = (response.status().is_success(), next.map(str::to_owned)) else { continue };
        // A body that was cut short is asked for again.
        let Ok(body) = response.text().await else { continue };
        let lines: Result<Vec<Value>, _> = body.lines().map(serde_json::from_str).collect();
        let Ok(lines) = lines else { continue };
        for line in lines {
            seen.insert(line["position"].as_u64().unwrap_or_default(), line);
        }
        after = next;
    }
    seen
}

/// Everything that must hold.
pub async fn check(
    platform: &mut Platform,
    world: &World,
    ledger: &Ledger,
    customers: &mut [Customer],
    followed: &BTreeMap<u64, Value>,
    figures: &mut Figures,
) -> Result<()> {
    let sent = std::mem::take(&mut *ledger.lock());
    (figures.acknowledged, figures.refused, figures.unknown) = sent.fates();
    figures.resent = sent.resent;
    figures.orders = customers.iter().map(|customer| customer.accepted).sum();
    let payloads: Vec<&Payload> = sent.events.iter().chain(&sent.things).collect();
    let acknowledged = || payloads.iter().filter(|payload| matches!(payload.fate, Fate::Acknowledged { .. }));
    figures.rows = acknowledged().map(|payload| payload.rows.len() as u64).sum();
    if !sent.problems.is_empty() {
        bail!("while sending: {}", sent.problems.join("\n"));
    }

    receipts(world, &payloads).await?;
    figures.failed_orders = orders(world).await?;
    settled("dead letters", async |problems| {
        for (index, input) in world.inputs.iter().enumerate() {
            let own: Vec<&Payload> = payloads.iter().copied().filter(|payload| payload.channel == index).collect();
            let letters = all(&world.provider.api, &format!("{}/dead-letters", input.path)).await?;
            check::dead_letters(&own, &letters, &format!("channel {index}"), problems);
        }
        Ok(())
    })
    .await?;
    for (channel, profile) in world.outputs.iter().zip(PROFILES) {
        figures.read += lasting(world, channel, profile, &sent).await?;
    }
    let later = world.later.lock().unwrap().clone();
    for (channel, profile) in &later {
        figures.read += lasting(world, channel, profile, &sent).await?;
    }
    positions(world, followed, figures.power_cuts > 0).await?;
    // A power cut may take acknowledgements (rule 26).
    let again = world.labour.again();
    if figures.power_cuts == 0 && !again.is_empty() {
        bail!("{} messages came again after their acknowledgement was answered: {:?}", again.len(), again[0]);
    }
    figures.read += the_elements(world, &sent).await?;
    for customer in customers.iter_mut() {
        figures.read += passing(world, customer, &sent).await?;
    }
    the_end(platform, world, customers).await
}

/// Every acknowledged payload was conformed, and its receipt says of every row what became of it.
async fn receipts(world: &World, payloads: &[&Payload]) -> Result<()> {
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
    for payload in payloads {
        let Fate::Acknowledged { receipt } = &payload.fate else { continue };
        let channel = &world.inputs[payload.channel];
        settled(&format!("payload {}", payload.key), async |problems| {
            let url = format!("{}/receipts/{receipt}", channel.url());
            let response = http.get(url).bearer_auth(channel.secret("channel_key")).send().await?;
            let found: Value = response.json().await?;
            let count = |name: &str| found[name].as_u64().unwrap_or_default();
            let wrong = payload.rows.iter().filter(|row| row.wrong).count() as u64;
            let decided = count("records") + count("unchanged") + count("refused");
            if found["state"] != "conformed" || decided != payload.rows.len() as u64 || count("refused") != wrong {
                problems.push(format!("the receipt of {} rows, {wrong} of them wrong: {found}", payload.rows.len()));
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Every order is over, and one that failed says why. Returns how many failed.
async fn orders(world: &World) -> Result<u64> {
    let mut failed = 0;
    settled("orders", async |problems| {
        failed = 0;
        for api in [&world.provider.api, &world.consumer.api] {
            for order in all(api, "/v1/orders").await? {
                if !is_over(&order) {
                    problems.push(format!("stuck: {order}"));
                }
                if order["state"] == "FAILED" {
                    failed += 1;
                    eprintln!("order failed: {} {} {}", order["kind"], order["step"], order["error"]);
                    if order["error"]["code"].as_str().is_none_or(str::is_empty) {
                        problems.push(format!("failed without a reason: {order}"));
                    }
                }
            }
        }
        Ok(())
    })
    .await?;
    Ok(failed)
}

/// One of the channels that were there all the time. Returns how many records were read.
async fn lasting(world: &World, channel: &Channel, profile: &str, sent: &Sent) -> Result<u64> {
    let mut count = 0;
    settled(&format!("the {profile} channel"), async |problems| {
        let mut events = read(world, channel, profile, "events").await?;
        let mut things = read(world, channel, profile, "things").await?;
        if matches!(profile, "stream" | "webhook" | "queue") {
            events = check::without_repeats(&events, profile, problems);
            things = check::without_repeats(&things, profile, problems);
        }
        count = (events.len() + things.len()) as u64;
        let kind = |row: &Value, kind: &str| row["kind"] == kind;
        match profile {
            "api" => {
                check::events(sent, &events, |_| true, profile, problems);
                check::current(sent, &things, profile, problems);
            }
            "file" => {
                check::events(sent, &events, |row| kind(row, "a"), profile, problems);
                check::changes(sent, &things, |_| true, profile, problems);
            }
            "stream" => {
                check::events(sent, &events, |_| true, profile, problems);
                check::changes(sent, &things, |row| row["zone"] == "x", profile, problems);
            }
            "queue" => {
                check::events(sent, &events, |row| kind(row, "c"), profile, problems);
                check::changes(sent, &things, |_| true, profile, problems);
            }
            _ => {
                let in_scope = |row: &Value| kind(row, "b") && row["value"].as_f64().is_some_and(|v| v > 2_000.0);
                check::events(sent, &events, in_scope, profile, problems);
                check::changes(sent, &things, |_| true, profile, problems);
            }
        }
        if profile != "api" {
            // What has no key has no order in a queue.
            if profile != "queue" {
                check::events_in_order(&events, profile, problems);
            }
            // What the product says it delivered is what arrived; an api table shows the last state only.
            let statistics = world.consumer.api.get(&format!("{}/statistics", channel.path)).await?;
            let flows = statistics["flows"].as_array().context("statistics have flows")?;
            let delivered: u64 = flows.iter().filter_map(|flow| flow["records"].as_u64()).sum();
            if delivered != count {
                problems.push(format!("{profile}: {count} records arrived, statistics say {delivered}: {flows:?}"));
            }
        }
        Ok(())
    })
    .await?;
    Ok(count)
}

/// What a follower saw at a position is still there, and nothing came to lie behind it that it did
/// not see. When the power was cut what it saw may be somewhere else (that it is there at all is
/// looked at elsewhere), but its position means nothing else.
async fn positions(world: &World, followed: &BTreeMap<u64, Value>, may_move: bool) -> Result<()> {
    let channel = &world.outputs[2];
    let mut there = BTreeMap::new();
    let mut after = "earliest".to_owned();
    loop {
        let url = format!("{}/records?after={after}&limit=10000", channel.url());
        let response = reqwest::Client::new().get(url).bearer_auth(channel.secret("channel_key")).send().await?;
        let next = response.headers().get("headgate-next-position").context("no next position")?.to_str()?.to_owned();
        let body = response.text().await?;
        if body.is_empty() {
            break;
        }
        for line in body.lines() {
            let line: Value = serde_json::from_str(line)?;
            there.insert(line["position"].as_u64().unwrap_or_default(), line);
        }
        after = next;
    }
    for (position, line) in followed {
        let found = there.get(position);
        if found != Some(line) && (found.is_some() || !may_move) {
            bail!("stream position {position} was {line} and is {found:?}");
        }
    }
    let last = followed.keys().next_back().copied().unwrap_or(0);
    if let Some((position, line)) = there.range(..=last).find(|(position, _)| !followed.contains_key(position)) {
        bail!("stream position {position} holds {line}; a reader that had come to {last} never saw it");
    }
    Ok(())
}

/// The elements themselves, as a channel sees them that is ordered only now.
async fn the_elements(world: &World, sent: &Sent) -> Result<u64> {
    let (events, things) = world.elements()?;
    let order = json!({"name": "late", "channel_profile": "api", "performance_profile": "XL",
                       "data": [{"element": events}, {"element": things}]});
    let late = world.consumer.order("out", &order, |_| {}, async |_, _| {}).await?;
    let mut count = 0;
    settled("the elements", async |problems| {
        let events = read(world, &late, "api", "events").await?;
        let things = read(world, &late, "api", "things").await?;
        count = (events.len() + things.len()) as u64;
        check::events(sent, &events, |_| true, "late", problems);
        check::current(sent, &things, "late", problems);
        Ok(())
    })
    .await?;
    Ok(count)
}

/// Channels that came and went during the load.
async fn passing(world: &World, customer: &mut Customer, sent: &Sent) -> Result<u64> {
    let mut count = 0;
    for index in 0..customer.ordered.len() {
        customer.reveal(index).await;
        let ordered = customer.ordered[index].clone();
        let Some(key) = ordered.key else { continue };
        let path = format!("/v1/data-out-channels/{}", ordered.id);
        let found = world.consumer.api.get(&path).await?;
        if ordered.deleted || found["state"] != "ACTIVE" {
            continue;
        }
        let endpoint = found["status"]["endpoint"].clone();
        let channel = Channel { id: ordered.id, path, endpoint, secrets: vec![("channel_key".into(), key)] };
        settled(&format!("a passing {} channel", ordered.profile), async |problems| {
            let mut records: Vec<Record> = read(world, &channel, ordered.profile, "events").await?;
            if ordered.profile == "stream" {
                records = check::without_repeats(&records, "passing stream", problems);
            }
            count += records.len() as u64;
            check::events(sent, &records, |row| row["kind"] == "c", "passing", problems);
            Ok(())
        })
        .await?;
    }
    Ok(count)
}

/// Everything is deleted: no key works, nothing is left on the disk, and the books are right.
async fn the_end(platform: &mut Platform, world: &World, customers: &[Customer]) -> Result<()> {
    let consumer = &world.consumer.api;
    let mut delivered = 0;
    for channel in all(consumer, "/v1/data-out-channels").await? {
        let id = channel["id"].as_str().context("a channel has an id")?;
        let path = format!("/v1/data-out-channels/{id}");
        if matches!(channel["state"].as_str(), Some("DELETED" | "DELETING" | "FAILED")) {
            continue;
        }
        let statistics = consumer.get(&format!("{path}/statistics")).await?;
        let flows = statistics["flows"].as_array().context("statistics have flows")?;
        delivered += flows.iter().filter_map(|flow| flow["records"].as_u64()).sum::<u64>();
        let answer = insist(consumer, Method::DELETE, &path, None, &format!("end-{id}"), PATIENCE).await;
        answer.context("deleting has no answer")?.ok()?;
    }
    orders(world).await?;
    let http = reqwest::Client::new();
    let passing = customers.iter().flat_map(|customer| &customer.ordered);
    let passing = passing.filter_map(|channel| Some((channel.id.clone(), channel.key.clone()?)));
    let lasting = world.outputs.iter().map(|channel| (channel.id.clone(), channel.secret("channel_key").to_owned()));
    for (id, key) in passing.chain(lasting) {
        let answer = http.get(format!("{}/v1/out/{id}/", platform.data)).bearer_auth(key).send().await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            bail!("the key of the deleted channel {id} is answered {}", answer.status());
        }
    }
    directories(platform, &world.provider.api).await?;
    let usage = consumer.get("/v1/usage?meter=deliver.records").await?;
    let billed = usage["items"][0]["quantity"].as_u64().unwrap_or_default();
    // Channels deleted during the load were billed, too; what they got is in the books only.
    if billed < delivered {
        bail!("{delivered} records were delivered by the end and {billed} were billed in all");
    }
    let status = tokio::task::block_in_place(|| platform.stop())?;
    if !status.success() {
        bail!("asked to stop, the product ended with {status}");
    }
    tokio::task::block_in_place(|| {
        platform.run(&["usage", "reconcile"])?;
        platform.run(&["audit", "verify"])
    })?;
    Ok(())
}

/// Only data-in channels are left, and nothing else has a directory.
async fn directories(platform: &Platform, provider: &ApiClient) -> Result<()> {
    let mut expected: Vec<String> = Vec::new();
    for channel in all(provider, "/v1/data-in-channels").await? {
        expected.push(channel["id"].as_str().unwrap_or_default().to_owned());
    }
    expected.sort();
    settled("directories", async |problems| {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(platform.directory().join("data/channels"))? {
            found.push(entry?.file_name().to_string_lossy().into_owned());
        }
        found.sort();
        if found != expected {
            problems.push(format!("there are {found:?}, expected {expected:?}"));
        }
        Ok(())
    })
    .await
}
