//! Copy-paste commands for channels. They are data (`templates/snippets.yaml`): this crate knows
//! no technology by name.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use headgate_types::channel::{Binding, Direction};
use headgate_types::model::InputModel;
use headgate_types::schema::{DataType, Schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

const EMBEDDED: &str = include_str!("../../templates/snippets.yaml");

/// A command or short program that uses a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Snippet {
    /// What it does.
    pub title: String,
    /// `bash`, `python`, …
    pub language: String,
    /// The text. It reads the channel's key from `HEADGATE_KEY`, and its id, where a cloud holds the channel, from
    /// `HEADGATE_KEY_ID`; no secret is in it.
    pub code: String,
}

/// What stands for the channel in the texts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values<'a> {
    /// Start of the channel's addresses, without a slash at its end.
    pub data_url: &'a str,
    /// The channel's id.
    pub channel: &'a str,
    /// The first feed, or the first table.
    pub name: &'a str,
    /// A record that fits the first feed, as JSON.
    pub record: &'a str,
    /// The channel's resource, where a cloud holds it.
    pub cloud: Option<CloudValues<'a>>,
}

/// What stands for a resource that a cloud holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CloudValues<'a> {
    /// `s3`, `sqs` or `kinesis`: its snippets are by this in place of the profile.
    pub scheme: &'a str,
    /// Its name.
    pub resource: &'a str,
    /// Whose it is, where its address says so.
    pub account: &'a str,
    /// The region it is in.
    pub region: &'a str,
}

impl<'a> CloudValues<'a> {
    /// Of a binding; None where Headgate serves the channel itself.
    pub(crate) fn of(binding: &'a Binding) -> Option<Self> {
        let cloud = binding.cloud.as_ref()?;
        let (scheme, place) = binding.url.split_once("://")?;
        let mut parts = place.rsplit('/');
        let (resource, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        Some(Self { scheme, resource, account, region: &cloud.region })
    }
}

/// Snippets by direction and channel profile.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Snippets {
    #[serde(rename = "in")]
    data_in: BTreeMap<String, Vec<Snippet>>,
    #[serde(rename = "out")]
    data_out: BTreeMap<String, Vec<Snippet>>,
}

impl Snippets {
    /// Those built into the binary; a test reads them.
    pub(crate) fn embedded() -> Self {
        serde_yaml_ng::from_str(EMBEDDED).unwrap_or_else(|error| {
            tracing::error!(%error, "the snippets built into the binary cannot be read");
            Self::default()
        })
    }

    /// The snippets for one channel; none for a profile that has no entry.
    pub(crate) fn of(&self, direction: Direction, profile: &str, values: Values<'_>) -> Vec<Snippet> {
        let by_profile = match direction {
            Direction::In => &self.data_in,
            Direction::Out => &self.data_out,
        };
        let cloud = values.cloud;
        let fill = |text: &str| {
            let text = match cloud {
                Some(cloud) => text
                    .replace("{resource}", cloud.resource)
                    .replace("{account}", cloud.account)
                    .replace("{region}", cloud.region),
                None => text.to_owned(),
            };
            text.replace("{data_url}", values.data_url)
                .replace("{channel}", values.channel)
                .replace("{name}", values.name)
                .replace("{record}", values.record)
        };
        let snippets = by_profile.get(cloud.map_or(profile, |cloud| cloud.scheme)).into_iter().flatten();
        snippets.map(|snippet| Snippet { code: fill(&snippet.code), ..snippet.clone() }).collect()
    }
}

/// A record with a value in every field that a feed's model reads, under the payload's names; as
/// JSON that can stand between single quotes.
pub(crate) fn example(schema: &Schema, model: &InputModel) -> String {
    let mut record = Value::Object(Map::new());
    for field in &schema.fields {
        let input = model.fields.iter().find(|input| input.name == field.name);
        if input.is_none() && !model.fields.is_empty() {
            continue;
        }
        let date = |default: &str| match input.and_then(|input| input.date_format.as_deref()) {
            Some(pattern) => json!(DateTime::<Utc>::UNIX_EPOCH.format(pattern).to_string()),
            None => json!(default),
        };
        let value = match field.data_type {
            DataType::Bool => json!(true),
            DataType::Int64 => json!(1),
            DataType::Float64 => json!(1.5),
            DataType::String => json!("text"),
            DataType::Timestamp => date("2025-01-31T12:00:00Z"),
            DataType::Date => date("2025-01-31"),
            DataType::Json => json!({}),
        };
        let path = input.and_then(|input| input.from.as_deref()).unwrap_or(&field.name);
        let mut place = &mut record;
        for step in path.split('.') {
            if !place.is_object() {
                *place = json!({});
            }
            place = &mut place[step];
        }
        *place = value;
    }
    record.to_string().replace('\'', "\\u0027")
}

#[cfg(test)]
mod tests {
    use headgate_types::model::InputField;
    use headgate_types::schema::Field;

    use super::*;

    #[test]
    fn the_example_fits_the_model_and_stands_between_quotes() {
        let schema = Schema { fields: vec![Field::new("id", DataType::Int64), Field::new("day", DataType::Date)] };
        assert_eq!(example(&schema, &InputModel::default()), r#"{"id":1,"day":"2025-01-31"}"#);
        let day = InputField {
            from: Some("o'clock.day".to_owned()),
            date_format: Some("%d.%m.%Y".to_owned()),
            ..InputField::plain("day")
        };
        let model = InputModel { fields: vec![day], ..InputModel::default() };
        assert_eq!(example(&schema, &model), r#"{"o\u0027clock":{"day":"01.01.1970"}}"#);
    }

    #[test]
    fn the_snippets_of_the_binary_are_readable_and_filled_in() {
        let snippets: Snippets = serde_yaml_ng::from_str(EMBEDDED).unwrap();
        let here =
            Values { data_url: "http://127.0.0.1:7171", channel: "ch_1", name: "weather", record: "{}", cloud: None };
        for (direction, profiles) in [(Direction::In, &snippets.data_in), (Direction::Out, &snippets.data_out)] {
            assert!(!profiles.is_empty());
            for profile in profiles.keys() {
                let cloud = CloudValues { scheme: profile, resource: "records", account: "1", region: "eu-west-1" };
                let cloud = ["s3", "sqs", "kinesis"].contains(&profile.as_str()).then_some(cloud);
                for snippet in snippets.of(direction, profile, Values { cloud, ..here }) {
                    for placeholder in
                        ["{data_url}", "{channel}", "{name}", "{record}", "{region}", "{account}", "{resource}"]
                    {
                        assert!(!snippet.code.contains(placeholder), "{profile}: {placeholder}");
                    }
                }
            }
        }
    }
}
