//! The main job on real input: `cargo xtask test --data DIR`.

mod northwind;
mod weather;

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::harness::read::ChannelReader;
use crate::harness::receiver::Receiver;
use crate::harness::records::{Records, checksum, number};
use crate::harness::world::{Channel, Organisation, send};
use crate::harness::{Database, Platform, settled};

fn file(name: &str) -> String {
    let folder = std::env::var_os("HEADGATE_TEST_DATA").map(PathBuf::from);
    let file = folder.expect("run this suite by `cargo xtask test --data DIR`").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[tokio::test]
async fn weather_reaches_every_kind_of_channel_on_sqlite() {
    weather_reaches_every_kind_of_channel(Database::Sqlite).await;
}

#[tokio::test]
async fn weather_reaches_every_kind_of_channel_on_postgres() {
    weather_reaches_every_kind_of_channel(Database::Postgres).await;
}

/// The weather file as an entity with key origin + `time_hour`: half as history, half live.
async fn weather_reaches_every_kind_of_channel(database: Database) {
    let text = file("weather/weather.csv");
    let rows = weather::rows(&text);
    assert_eq!(rows.len(), 26_115);
    let platform = Platform::start(database).await.unwrap();
    let admin = platform.admin().await.unwrap();
    let provider = Organisation::create(&admin, &platform.control, "Airports").await.unwrap();
    let consumer = Organisation::create(&admin, &platform.control, "Airline").await.unwrap();
    let ordered_in = json!({
        "name": "weather", "channel_profile": "http", "performance_profile": "XL",
        "feeds": [{
            "name": "hourly",
            "new_element": {
                "name": "weather", "kind": "entity", "schema": weather::schema(),
                "metadata": {
                    "context": "airports", "source": "weather stations", "format": "csv",
                    "what": "hourly observations", "identified_by": "origin and time_hour",
                },
            },
            "input_model": {"null_markers": ["NA"]},
        }],
    });
    let feed = provider.order("in", &ordered_in, |_| {}, async |_, _| {}).await.unwrap();
    let grants = format!("/v1/elements/{}/grants", feed.element());
    provider.api.post(&grants, &json!({"tenant": consumer.tenant})).await.unwrap();

    let (header, body) = text.split_once('\n').unwrap();
    let lines: Vec<&str> = body.lines().collect();
    let part = |lines: &[&str]| format!("{header}\n{}\n", lines.join("\n"));
    let (history, live) = lines.split_at(lines.len() / 2);
    let receipt = send(&feed, "text/csv", part(history)).await.unwrap();
    assert_eq!((&receipt["records"], &receipt["refused"]), (&json!(history.len()), &json!(0)));

    let receiver = Receiver::start().await.unwrap();
    let element = feed.element();
    let out = |profile: &str, item: Value, model: Value| {
        json!({"name": profile, "channel_profile": profile, "performance_profile": "XL", "data": [item],
               "output_data_model": model})
    };
    let all = out("api", json!({"element": element}), json!({}));
    let columns = ["origin", "time_hour", "temp", "humid"];
    let projected = out(
        "file",
        json!({"element": element, "columns": columns}),
        json!({"options": {"format": "ndjson", "roll_seconds": 1}}),
    );
    let filtered = out("stream", json!({"element": element, "filter": "origin = 'JFK' AND temp > 50"}), json!({}));
    let converted = out(
        "webhook",
        json!({"element": element, "filter": "wind_speed >= 20"}),
        json!({
            "fields": [
                {"name": "origin"}, {"name": "time_hour"},
                {"name": "temp_c", "from": "temp", "unit": {"to": "Cel"}},
                {"name": "wind_kmh", "from": "wind_speed", "unit": {"from": "[mi_i]/h", "to": "km/h"}},
            ],
            "options": {"url": receiver.url, "batch_records": 1000},
        }),
    );
    let orders = [all, projected, filtered, converted];
    let ordered = orders.iter().map(|wanted| order(&consumer, &receiver, wanted));
    // Half of the file arrives while the channels are being filled with the other half.
    let live_text = part(live);
    let (channels, sent) = futures::join!(futures::future::join_all(ordered), send(&feed, "text/csv", live_text));
    let receipt = sent.unwrap();
    assert_eq!((&receipt["records"], &receipt["refused"]), (&json!(live.len()), &json!(0)));

    let float = |row: &Map<String, Value>, name: &str| row[name].as_f64();
    let expected: [Vec<Value>; 4] = [
        rows.iter().map(|row| Value::Object(row.clone())).collect(),
        rows.iter().map(|row| columns.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect()).collect(),
        rows.iter()
            .filter(|row| row["origin"] == "JFK" && float(row, "temp").is_some_and(|temp| temp > 50.0))
            .map(|row| Value::Object(row.clone()))
            .collect(),
        rows.iter()
            .filter(|row| float(row, "wind_speed").is_some_and(|speed| speed >= 20.0))
            .map(|row| {
                let celsius = float(row, "temp").map_or(Value::Null, |f| number((f - 32.0) * 5.0 / 9.0));
                let kmh = float(row, "wind_speed").map_or(Value::Null, |mph| number(mph * 1.609_344));
                json!({"origin": row["origin"], "time_hour": row["time_hour"], "temp_c": celsius, "wind_kmh": kmh})
            })
            .collect(),
    ];
    for ((channel, order), expected) in channels.iter().zip(&orders).zip(&expected) {
        let profile = order["channel_profile"].as_str().unwrap();
        let read = delivered(&consumer, channel, profile, &receiver, expected.len()).await;
        assert_close(&Records::of(expected), &Records::of(&read), profile);
    }
}

/// What a client finds in a channel that has delivered exactly `expected` records, with the
/// checksum that the platform keeps.
async fn delivered(
    consumer: &Organisation,
    channel: &Channel,
    profile: &str,
    receiver: &Receiver,
    expected: usize,
) -> Vec<Value> {
    let statistics = settled(consumer, &channel.path, expected).await;
    let flows = statistics["flows"].as_array().unwrap();
    let count: u64 = flows.iter().filter_map(|flow| flow["records"].as_u64()).sum();
    assert_eq!(count, expected as u64, "{profile}: what the platform says it delivered");
    let reader = ChannelReader::new(channel.url(), channel.secret("channel_key"));
    let read = match profile {
        "api" => {
            let mut rows = Vec::new();
            for stream in channel.endpoint["streams"].as_array().unwrap() {
                rows.extend(reader.api(stream["name"].as_str().unwrap()).await.unwrap());
            }
            // It shows rows without `_op`; the others show what was delivered.
            return rows;
        }
        "file" => reader.files().await.unwrap(),
        "stream" => reader.stream().await.unwrap(),
        _ => receiver.with(|received| received.records()).await,
    };
    assert_eq!(sum(&statistics), checksum(&read), "{profile}: the checksum on both sides");
    read
}

/// Orders a channel; its webhook secret, if it has one, is known to the receiver before records come.
async fn order(consumer: &Organisation, receiver: &Receiver, order: &Value) -> Channel {
    let secrets = async |kind: &str, secret: &str| {
        if kind == "signing_secret" {
            receiver.with(|received| received.secrets.push(secret.to_owned())).await;
        }
    };
    consumer.order("out", order, |_| {}, secrets).await.unwrap()
}

/// Exactly equal, but for the last digits of converted numbers.
fn assert_close(expected: &Records, received: &Records, what: &str) {
    expected.rounded().assert_equals(&received.rounded(), what);
}

fn sum(statistics: &Value) -> String {
    use headgate_types::checksum::Checksum;
    let flows = statistics["flows"].as_array().unwrap();
    let sums = flows.iter().map(|flow| flow["checksum"].as_str().unwrap().parse::<Checksum>().unwrap());
    sums.fold(Checksum::EMPTY, Checksum::plus).to_string()
}
