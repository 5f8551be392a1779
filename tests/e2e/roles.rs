//! The services of the platform as processes of their own, over one PostgreSQL.

use serde_json::{Value, json};

use crate::harness::platform::fresh_database;
use crate::harness::read::ChannelReader;
use crate::harness::stage::{order_in, reading, send_to};
use crate::harness::world::Organisation;
use crate::harness::{ApiClient, Options, Platform, eventually, settled};

/// The key that seals secrets is the same in all of them.
const KEY: &str = "9b1c5d0b7e1a4f3c8d2e6a7b5c4d3e2f1a0b9c8d7e6f5a4b3c2d1e0f9a8b7c6d";

#[tokio::test]
async fn control_worker_engine_and_metering_run_as_services_that_meet_in_the_database_and_the_internal_api() {
    let database_url = Some(fresh_database().await.unwrap());
    let control_url = format!("http://127.0.0.1:{}", free_port());
    let options = |arguments: &[&str]| Options {
        database_url: database_url.clone(),
        environment: vec![("HEADGATE_MASTER_KEY".to_owned(), KEY.to_owned())],
        ..Options::arguments(arguments)
    };
    let mut engine = Platform::start_with(options(&["--roles", "engine", "--control-url", &control_url])).unwrap();
    let (engine_url, data_url) = (engine.internal.clone(), engine.data.clone());
    let elsewhere = ["--engine-url", &engine_url, "--data-url", &data_url];
    let mut api = options(&[["--roles", "api"].as_slice(), &elsewhere].concat());
    api.ports[0] = control_url.rsplit(':').next().unwrap().parse().unwrap();
    let control = Platform::join(api).unwrap();
    let worker = Platform::join(options(&[["--roles", "worker"].as_slice(), &elsewhere].concat())).unwrap();
    for (name, service, serves) in
        [("engine", &engine, [false, true]), ("control", &control, [true, false]), ("worker", &worker, [false; 2])]
    {
        let served = [&service.control, &service.data].map(|url| !url.is_empty());
        assert_eq!(served, serves, "{name} serves what it is for and nothing else");
    }

    // The internal API is for those who have the key.
    let wake = reqwest::Client::new().post(format!("{engine_url}/internal/v1/wake")).json(&json!(null));
    assert_eq!(wake.try_clone().unwrap().send().await.unwrap().status(), 401);
    assert_eq!(wake.bearer_auth("guess").send().await.unwrap().status(), 401);

    let admin = ApiClient::sign_in(&control.control, &engine.admin.0, &engine.admin.1).await.unwrap();
    let provider = Organisation::create(&admin, &control.control, "Provider").await.unwrap();
    let feed = provider.order("in", &order_in("events"), |_| {}, async |_, _| {}).await.unwrap();
    let sent: Vec<Value> = (0..50).map(reading).collect();
    send_to(&feed, &sent[..30]).await;
    // What only the engine can know is asked of it while the order is checked.
    let mut order = json!({
        "name": "out", "channel_profile": "stream", "performance_profile": "S",
        "data": [{"element": feed.element(), "filter": "no_such_column = 1"}],
    });
    let refused = provider.api.post("/v1/data-out-channels", &order).await.unwrap_err().to_string();
    assert!(refused.contains("no_such_column"), "{refused}");
    order["data"][0]["filter"] = json!("count >= 10");
    let out = provider.order("out", &order, |_| {}, async |_, _| {}).await.unwrap();
    send_to(&feed, &sent[30..]).await;
    settled(&provider, &out.path, 40).await;
    let reader = ChannelReader::new(out.url(), out.secret("channel_key"));
    assert_eq!(reader.stream().await.unwrap().len(), 40);
    // A token of the control API is good at the engine, which has never spoken to it.
    let token = reqwest::Client::new().get(format!("{}/records", out.url())).bearer_auth(&provider.api.token);
    assert_eq!(token.send().await.unwrap().status(), 200);

    // The engine goes away: the control plane says so where it needs it, and goes on where it does not.
    engine.kill().unwrap();
    let away = provider.api.post("/v1/data-out-channels", &order).await.unwrap_err().to_string();
    assert!(away.contains("503"), "{away}");
    let paused = provider.api.post(&format!("{}/pause", out.path), &json!({})).await.unwrap();
    engine.start_again().unwrap();
    let order = format!("/v1/orders/{}", paused["order"]["id"].as_str().unwrap());
    eventually("the order is carried out", async || {
        (provider.api.get(&order).await.unwrap()["state"] == "SUCCEEDED").then_some(())
    })
    .await;

    // Every service adds to one account; the hours of channels are metering's alone.
    let hours = async || {
        let usage = provider.api.get("/v1/usage").await.unwrap();
        let sums = usage["items"].as_array().unwrap().clone();
        sums.into_iter().find(|sum| sum["meter"] == "channel.hours").map(|sum| sum["quantity"].as_u64().unwrap())
    };
    set_back(database_url.as_deref().unwrap()).await;
    assert_eq!(hours().await, None);
    let metering = Platform::join(options(&["--roles", "metering"])).unwrap();
    let booked = eventually("the hours are booked", hours).await;
    assert!((2 * 2 * 3_600..2 * 4 * 3_600).contains(&booked), "two channels for three hours: {booked} s");
    let requests = provider.api.get("/v1/usage?meter=ingest.records").await.unwrap();
    assert_eq!(requests["items"][0]["quantity"], 50);
    for service in [engine, control, worker, metering] {
        let mut service = service;
        assert!(service.stop().unwrap().success(), "{}", service.log());
    }
}

/// Lets the channels have existed for three hours.
async fn set_back(database_url: &str) {
    use sqlx::{Connection, Executor};
    let mut connection = sqlx::PgConnection::connect(database_url).await.unwrap();
    let sql = "UPDATE control.channels SET activated_at = activated_at - interval '3 hours'";
    let changed = connection.execute(sql).await.unwrap().rows_affected();
    assert_eq!(changed, 2);
}

/// A port that was free a moment ago: the address of a service that others have to know before it runs.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
