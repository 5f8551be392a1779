//! What can be ordered: what is written in `templates`, by its name, at a price, and nothing else.

use std::collections::BTreeSet;

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::cloud::CloudStage;
use crate::harness::stage::order_in;

/// A file of `templates`.
fn document(name: &str) -> Value {
    let text = std::fs::read_to_string(crate::tidy::root().join("templates").join(name)).unwrap();
    serde_yaml_ng::from_str(&text).unwrap()
}

fn sorted(values: impl Iterator<Item = String>) -> BTreeSet<String> {
    values.collect()
}

/// An order of a profile and size in a direction.
fn body(cloud: &CloudStage, direction: &str, profile: &str, size: &str) -> Value {
    let mut body = if direction == "in" { order_in("events") } else { cloud.stage.order_out(profile, &json!({})) };
    (body["channel_profile"], body["performance_profile"]) = (json!(profile), json!(size));
    body["name"] = json!(format!("{direction} {profile} {size}"));
    if direction == "in" {
        body["feeds"][0]["new_element"]["name"] = json!(format!("in_{profile}_{size}"));
    }
    if profile == "webhook" {
        body["output_data_model"]["options"]["url"] = json!("https://example.com/hook");
    }
    body
}

#[tokio::test]
async fn templates_and_sizes_are_ordered_by_name_at_their_price_and_nobody_brings_one() {
    let Some(cloud) = CloudStage::start("events").await else { return };
    let owner = &cloud.stage.consumer;
    let (profiles, rates) = (document("profiles.yaml"), document("rates.yaml"));
    let offered = owner.api.get("/v1/channel-profiles").await.unwrap();
    let offered = offered["channel_profiles"].as_array().unwrap();

    // Every profile in every size that the files have, with their limits, and no further one.
    let key = |profile: &Value| {
        format!("data_{}/{}", profile["direction"].as_str().unwrap(), profile["key"].as_str().unwrap())
    };
    let written = ["data_in", "data_out"].into_iter().flat_map(|direction| {
        let keys = profiles[direction].as_object().unwrap().keys().map(move |key| format!("{direction}/{key}"));
        keys.collect::<Vec<_>>()
    });
    let held = sorted(profiles["cloudformation"].as_object().unwrap().keys().cloned());
    let mut files = BTreeSet::new();
    for direction in ["data-in", "data-out"] {
        let folder = crate::tidy::root().join("templates").join(direction);
        for file in std::fs::read_dir(folder).unwrap() {
            let name = file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned();
            files.insert(format!("{direction}/{name}"));
        }
    }
    assert_eq!(sorted(offered.iter().map(key)), sorted(written));
    assert_eq!(held, files, "every template has its sizes");
    for profile in offered {
        let (direction, name) = (profile["direction"].as_str().unwrap(), profile["key"].as_str().unwrap());
        let sizes = profile["sizes"].as_array().unwrap();
        assert_eq!(sizes.iter().map(|size| &size["size"]).collect::<Vec<_>>(), ["S", "M", "L", "XL"]);
        let (mut before, mut rate) = (Decimal::ZERO, 0);
        for size in sizes {
            let limit = size["limits"]["records_per_second"].as_u64().unwrap();
            assert!(limit > rate, "{name}: a larger size takes more");
            rate = limit;
            let size = size["size"].as_str().unwrap();
            let mut body = body(&cloud, direction, name, size);
            body["validate_only"] = json!(true);
            let path = format!("/v1/data-{direction}-channels");
            let valid = owner.api.send(Method::POST, &path, Some(&body), &[]).await.unwrap().ok().unwrap();
            let price = rates["prices"].as_array().unwrap().iter().find(|price| {
                price["meter"] == "channel.hours"
                    && price["channel_profile"] == name
                    && price["performance_profile"] == size
            });
            let price: Decimal = price.unwrap()["amount"].as_str().unwrap().parse().unwrap();
            let quoted: Decimal = valid["price"]["per_hour"].as_str().unwrap().parse().unwrap();
            assert_eq!(quoted, price, "{name} {size}");
            assert!(price > before, "{name}: a larger size costs more");
            before = price;
        }
    }

    // A template, or a part of one, is nothing that an order can bring.
    let own = "Resources: {Mine: {Type: AWS::IAM::User}}";
    let mut refused = Vec::new();
    for member in ["template", "template_body", "template_url", "parameters", "resources", "tags", "limits", "driver"] {
        for direction in ["in", "out"] {
            let mut body = body(&cloud, direction, "queue", "S");
            body[member] = json!(own);
            refused.push((direction, body, member));
        }
    }
    for direction in ["in", "out"] {
        for (member, value) in [
            ("channel_profile", json!(own)),
            ("channel_profile", json!("../data-in/queue")),
            ("channel_profile", json!("data-out/queue")),
            ("channel_profile", json!("https://example.com/template.yaml")),
            ("channel_profile", json!("rds")),
            ("performance_profile", json!("XXL")),
            ("performance_profile", json!("{Shards: 7}")),
            ("performance_profile", json!({"Shards": 7})),
        ] {
            let mut body = body(&cloud, direction, "queue", "S");
            body[member] = value;
            refused.push((direction, body, member));
        }
    }
    for option in ["Shards", "ShardStep", "Size", "Ordered", "VisibilitySeconds", "PlatformPrincipal", "TemplateBody"] {
        for profile in ["file", "queue", "stream"] {
            let mut body = body(&cloud, "out", profile, "S");
            body["output_data_model"]["options"][option] = json!("1");
            refused.push(("out", body, option));
        }
    }
    for (number, (direction, body, member)) in refused.iter().enumerate() {
        let path = format!("/v1/data-{direction}-channels");
        let headers = [("idempotency-key", format!("own-{number}"))];
        let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
        let answer = owner.api.send(Method::POST, &path, Some(body), &headers).await.unwrap();
        assert!(matches!(answer.status.as_u16(), 400 | 422), "{member}: {body}: {}", answer.body);
        assert!(answer.body.to_string().contains(*member), "the answer says what is wrong: {}", answer.body);
    }
    let orders = owner.api.get("/v1/orders").await.unwrap();
    assert_eq!(orders["items"], json!([]));
    assert_eq!(cloud.account.asked("cloudformation:CreateStack").await, 0);
}
