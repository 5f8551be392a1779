//! Orders whose models or filters are wrong, or try to reach what is not theirs.

use serde_json::{Value, json};

use super::{assert_problem, state};
use crate::harness::Stage;
use crate::harness::stage::{order_in, reading};

/// Expressions that no tenant may have: each names something beyond the fields of one record.
const ESCAPES: [&str; 24] = [
    "value IN (SELECT 1)",
    "EXISTS (SELECT 1)",
    "value = (SELECT count(*) FROM information_schema.tables)",
    "value = 1; DROP TABLE channels",
    "value = 1 UNION SELECT 1",
    "value = 1) OR (1 = 1",
    "pg_sleep(10) IS NULL",
    "pg_read_file('/etc/passwd') = 'x'",
    "lo_import('/etc/passwd') = 1",
    "read_text('/etc/passwd') = 'x'",
    "read_csv('/etc/passwd') IS NULL",
    "readfile('/etc/passwd') = 'x'",
    "load_extension('x') IS NULL",
    "input_file_name() = 'x'",
    "version() = 'x'",
    "current_user = 'x'",
    "now() > at",
    "random() > 0",
    "repeat(site, 1000000000) = 'x'",
    "count(*) > 1",
    "row_number() OVER () = 1",
    "$1 = 1",
    "@@version = 'x'",
    "channels.id = 'x'",
];

#[tokio::test]
async fn models_and_filters_that_are_wrong_or_reach_too_far_are_refused_at_their_place() {
    let stage = Stage::start("events").await;
    let out = stage.channel("api", json!({})).await;
    stage.send(&[reading(0)]).await;
    stage.settled(&out, 1).await;
    let before = state(&stage, &out).await;
    let refused = async |what: &str, order: Value, places: &[&str]| {
        let answer = post(&stage.consumer.api, "/v1/data-out-channels", &order).await;
        assert_problem(what, &answer, 422, "validation_failed", places);
    };

    for escape in ESCAPES {
        let mut order = stage.order_out("api", &json!({}));
        order["data"][0]["filter"] = json!(escape);
        order["output_data_model"] = json!({
            "filter": escape,
            "fields": [{"name": "id"}, {"name": "x", "expression": escape}],
        });
        let places = ["/data/0/filter", "/output_data_model/fields/1/expression", "/output_data_model/filter"];
        let answer = post(&stage.consumer.api, "/v1/data-out-channels", &order).await;
        let mut found: Vec<&str> =
            answer["errors"].as_array().into_iter().flatten().filter_map(|error| error["pointer"].as_str()).collect();
        assert_eq!(
            (&answer["status"], &answer["code"]),
            (&json!(422), &json!("validation_failed")),
            "{escape}: {answer:#}"
        );
        found.sort_unstable();
        assert_eq!(found, places, "{escape}: {answer:#}");
    }
    for filter in ["value >", "value > AND", "nosuch = 1", "value + 1", "'open", "value = 'text'", "((((value = 1"] {
        let mut order = stage.order_out("api", &json!({}));
        order["data"][0]["filter"] = json!(filter);
        refused(filter, order, &["/data/0/filter"]).await;
    }
    let mut order = stage.order_out("api", &json!({}));
    order["data"][0]["filter"] = json!("");
    let answer = post(&stage.consumer.api, "/v1/data-out-channels", &order).await;
    assert_problem("an empty filter", &answer, 422, "selection_refused", &["/data/0/filter"]);
    let mut order = stage.order_out("api", &json!({}));
    order["data"][0]["columns"] = json!(["id", "nosuch"]);
    refused("columns", order, &["/data/0/columns/1"]).await;
    let mut order = stage.order_out("api", &json!({}));
    order["output_data_model"]["fields"] =
        json!([{"name": "id"}, {"name": "a", "from": "nosuch"}, {"name": "b", "from": "value", "unit": {"to": "Cel"}}]);
    refused("fields", order, &["/output_data_model/fields/1/from", "/output_data_model/fields/2/unit/from"]).await;
    let order = stage.order_out("file", &json!({"format": "xls"}));
    refused("options", order, &["/output_data_model/options/format"]).await;

    let mut order = order_in("events");
    order["feeds"][0]["new_element"]["name"] = json!("others");
    order["feeds"][0]["input_model"] = json!({"fields": [
        {"name": "id"}, {"name": "nosuch"}, {"name": "at", "date_format": "%Q"}, {"name": "count", "default": "x"},
    ]});
    let answer = post(&stage.provider.api, "/v1/data-in-channels", &order).await;
    let places = [1, 2, 3].map(|field| format!("/feeds/0/input_model/fields/{field}/"));
    let places: Vec<String> = places
        .iter()
        .zip(["name", "date_format", "default"])
        .map(|(place, member)| format!("{place}{member}"))
        .collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    assert_problem("input model", &answer, 422, "validation_failed", &places);
    assert_eq!(state(&stage, &out).await, before);
}

async fn post(api: &crate::harness::ApiClient, path: &str, body: &Value) -> Value {
    let key = uuid::Uuid::now_v7().to_string();
    api.send(reqwest::Method::POST, path, Some(body), &[("idempotency-key", &key)]).await.unwrap().body
}
