//! The tenants, channels and clients of one round.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::{Value, json};

use super::check::Record;
use super::labour::{Labour, MAX_RECEIVES};
use super::receiver::Receiver;
use crate::harness::client::Answer;
use crate::harness::world::{Channel, Organisation};
use crate::harness::{ApiClient, Platform};

/// Whatever takes longer is told.
const NOTABLE: Duration = Duration::from_secs(3);

/// A round's cast. What is here was made before anything is killed.
pub struct World {
    /// Owns the elements.
    pub provider: Organisation,
    /// Orders from them.
    pub consumer: Organisation,
    /// Two data-in channels with a feed `events` and a feed `things` each, into the same elements.
    pub inputs: [Channel; 2],
    /// `api`, `file`, `stream`, `webhook`, `queue`.
    pub outputs: [Channel; 5],
    /// Where the webhook channel posts.
    pub receiver: Receiver,
    /// Who works on the queue channel.
    pub labour: Labour,
    /// Channels like those of `outputs` that were ordered under load, with their profiles.
    pub later: Mutex<Vec<(Channel, &'static str)>>,
}

impl World {
    /// Makes everything.
    pub async fn make(platform: &Platform, seed: u64) -> Result<Self> {
        let admin = platform.admin().await?;
        let provider = Organisation::create(&admin, &platform.control, "Provider").await?;
        let consumer = Organisation::create(&admin, &platform.control, "Consumer").await?;
        let first = provider.order("in", &first_input(), |_| {}, async |_, _| {}).await?;
        let (events, things) = (element(&first, "events")?, element(&first, "things")?);
        for element in [&events, &things] {
            provider.api.post(&format!("/v1/elements/{element}/grants"), &json!({"tenant": consumer.tenant})).await?;
        }
        let second = json!({
            "name": "second", "channel_profile": "http", "performance_profile": "L",
            "feeds": [{"name": "events", "element": events}, {"name": "things", "element": things}],
        });
        let second = provider.order("in", &second, |_| {}, async |_, _| {}).await?;
        let receiver = Receiver::start(seed).await?;
        let orders = ["api", "file", "stream", "webhook", "queue"]
            .map(|profile| order(profile, &events, &things, &receiver.url));
        let ordered = orders.iter().map(|order| consumer.order("out", order, |_| {}, async |_, _| {}));
        let outputs: Vec<Channel> = futures::future::try_join_all(ordered).await?;
        let outputs: [Channel; 5] = outputs.try_into().ok().context("five were ordered")?;
        let labour = Labour::begin(outputs[4].clone())?;
        Ok(Self { provider, consumer, inputs: [first, second], outputs, receiver, labour, later: Mutex::default() })
    }

    /// Orders one more channel of a profile that nobody pushes to.
    pub async fn order_later(&self, profile: &'static str) -> Result<()> {
        let (events, things) = self.elements()?;
        let body = order(profile, &events, &things, "");
        let channel = self.consumer.order("out", &body, |_| {}, async |_, _| {}).await?;
        self.later.lock().unwrap().push((channel, profile));
        Ok(())
    }

    /// The ids of the two elements.
    pub fn elements(&self) -> Result<(String, String)> {
        Ok((element(&self.inputs[0], "events")?, element(&self.inputs[0], "things")?))
    }
}

/// The body of an order: what a channel of each profile carries.
fn order(profile: &str, events: &str, things: &str, url: &str) -> Value {
    let (data, options) = match profile {
        "api" => (json!([{"element": events}, {"element": things}]), json!({})),
        "file" => (
            json!([{"element": events, "filter": "kind = 'a'"}, {"element": things}]),
            json!({"format": "ndjson", "roll_seconds": 1}),
        ),
        "stream" => (json!([{"element": events}, {"element": things, "filter": "zone = 'x'"}]), json!({})),
        "queue" => (
            json!([{"element": events, "filter": "kind = 'c'"}, {"element": things}]),
            json!({"visibility_seconds": 1, "max_receives": MAX_RECEIVES}),
        ),
        _ => (
            json!([{"element": events, "filter": "kind = 'b' AND value > 2000"}, {"element": things}]),
            json!({"url": url, "batch_records": 20}),
        ),
    };
    json!({"name": profile, "channel_profile": profile, "performance_profile": "L", "data": data,
           "output_data_model": {"options": options}})
}

fn first_input() -> Value {
    let metadata = |what: &str| json!({"context": "soak", "source": "generated", "format": "ndjson", "what": what, "identified_by": "id"});
    let fields = |fields: &[(&str, &str)]| -> Value {
        fields.iter().map(|(name, data_type)| json!({"name": name, "type": data_type})).collect()
    };
    let events = fields(&[
        ("id", "string"),
        ("source", "string"),
        ("n", "int64"),
        ("kind", "string"),
        ("value", "float64"),
        ("pad", "string"),
    ]);
    let mut things = fields(&[("id", "string"), ("rev", "int64"), ("zone", "string")]);
    things[0]["key"] = json!(true);
    things[0]["required"] = json!(true);
    let element = |name: &str, kind: &str, fields: &Value| json!({"name": name, "kind": kind, "schema": {"fields": fields}, "metadata": metadata(name)});
    json!({
        "name": "first", "channel_profile": "http", "performance_profile": "L",
        "feeds": [
            {"name": "events", "new_element": element("events", "events", &events)},
            {"name": "things", "new_element": element("things", "entity", &things)},
        ],
    })
}

fn element(channel: &Channel, stream: &str) -> Result<String> {
    let streams = channel.endpoint["streams"].as_array().context("a channel has streams")?;
    let found = streams.iter().find(|found| found["name"] == stream).context("the stream is there")?;
    Ok(found["element"].as_str().context("a stream has an element")?.to_owned())
}

/// Every item of a list of the control API.
pub async fn all(api: &ApiClient, path: &str) -> Result<Vec<Value>> {
    let mut items = Vec::new();
    let mut next: Option<String> = None;
    loop {
        let token = next.as_ref().map(|token| format!("&page_token={token}")).unwrap_or_default();
        let mut page = api.get(&format!("{path}?page_size=1000{token}")).await?;
        items.extend(page["items"].as_array_mut().map(std::mem::take).unwrap_or_default());
        match page["next_page_token"].as_str() {
            Some(token) => next = Some(token.to_owned()),
            None => return Ok(items),
        }
    }
}

/// A request that is repeated under one idempotency key until something final is heard, as a
/// careful client does. `None`: nothing final within `patience`.
pub async fn insist(
    api: &ApiClient,
    method: Method,
    path: &str,
    body: Option<&Value>,
    key: &str,
    patience: Duration,
) -> Option<Answer> {
    let start = std::time::Instant::now();
    let mut last = String::new();
    loop {
        let headers = [("idempotency-key", key), ("if-match", "*")];
        match api.send(method.clone(), path, body, &headers).await {
            Ok(answer) if answer.status.is_server_error() || answer.status == 429 => last = answer.body.to_string(),
            Ok(answer) if answer.body["code"] == "idempotency_key_in_flight" => last = answer.body.to_string(),
            // The answer was cut short: it is not JSON.
            Ok(answer) if answer.body.is_string() => {}
            Ok(answer) => {
                if start.elapsed() > NOTABLE {
                    eprintln!(
                        "{method} {path}: a final answer after {:.1} s, before it {last}",
                        start.elapsed().as_secs_f64()
                    );
                }
                return Some(answer);
            }
            Err(_) => {}
        }
        if start.elapsed() > patience {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The records of one table of a channel as its client reads them.
pub async fn read(world: &World, channel: &Channel, profile: &str, table: &str) -> Result<Vec<Record>> {
    let record = |lane: &Value, data: Value| Record { lane: lane.as_str().unwrap_or_default().to_owned(), data };
    if profile == "queue" {
        return Ok(world.labour.records(table));
    }
    if profile == "webhook" {
        let bodies = world.receiver.bodies();
        let of_table = bodies.iter().filter(|body| body["element"] == table);
        let records = of_table.flat_map(|body| {
            body["records"].as_array().into_iter().flatten().map(|data| record(&body["lane"], data.clone()))
        });
        return Ok(records.collect());
    }
    let http = reqwest::Client::builder().timeout(Duration::from_secs(20)).build()?;
    let get = async |path: String| -> Result<reqwest::Response> {
        let request = http.get(format!("{}{path}", channel.url())).bearer_auth(channel.secret("channel_key"));
        let response = request.send().await?;
        let status = response.status();
        if !status.is_success() {
            anyhow::bail!("GET {path} of a {profile} channel: {status} {}", response.text().await.unwrap_or_default());
        }
        Ok(response)
    };
    let mut records = Vec::new();
    let mut next = String::new();
    loop {
        match profile {
            "api" => {
                let page: Value = get(format!("/{table}?page_size=1000{next}")).await?.json().await?;
                records.extend(page["items"].as_array().into_iter().flatten().map(|d| record(&Value::Null, d.clone())));
                match page["next_page_token"].as_str() {
                    Some(token) => next = format!("&page_token={token}"),
                    None => return Ok(records),
                }
            }
            "file" => {
                let page: Value = get(format!("/?page_size=1000{next}")).await?.json().await?;
                for file in page["items"].as_array().into_iter().flatten().filter(|file| file["table"] == table) {
                    let name = file["name"].as_str().context("a file has a name")?;
                    let text = get(format!("/files/{name}")).await?.text().await?;
                    for line in text.lines() {
                        records.push(record(&file["lane"], serde_json::from_str(line)?));
                    }
                }
                match page["next_page_token"].as_str() {
                    Some(token) => next = format!("&page_token={token}"),
                    None => return Ok(records),
                }
            }
            _ => {
                let after = if next.is_empty() { "earliest" } else { &next };
                let response = get(format!("/records?after={after}&limit=10000&element={table}")).await?;
                let position = response.headers().get("headgate-next-position").context("no next position")?;
                let position = position.to_str()?.to_owned();
                let body = response.text().await?;
                if body.is_empty() {
                    return Ok(records);
                }
                for line in body.lines() {
                    let mut line: Value = serde_json::from_str(line)?;
                    let data = line["data"].take();
                    records.push(record(&line["lane"], data));
                }
                next = position;
            }
        }
    }
}
