//! Which channels the demo orders: one of each kind, with a model and size of its own, made from
//! the schema that was inferred.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

/// One channel to order and how many of the input's records it should get.
#[derive(Debug, Clone)]
pub struct ChannelPlan {
    /// The channel profile.
    pub profile: &'static str,
    /// What it shows, for the report.
    pub shows: String,
    /// The body of the order.
    pub order: Value,
    /// Records of the input in its scope.
    pub expected: usize,
}

/// The most distinct values of a column to filter on.
const LOW_CARDINALITY: usize = 20;

/// Texts that inference may take for "no value"; a filter on one of them would find nothing.
const NO_VALUE: [&str; 6] = ["", "NA", "N/A", "NULL", "null", "-"];

/// Conversions the demo looks for: from a unit, to a unit, into a field of this name.
const UNITS: [(&str, &str); 4] = [("[degF]", "Cel"), ("[mi_i]/h", "km/h"), ("hPa", "[in_i'Hg]"), ("[in_i]", "mm")];

/// The channels for an element with this schema. `records` are the input's records as JSON.
pub fn channels(element: &str, schema: &Value, records: &[Map<String, Value>], webhook: &str) -> Vec<ChannelPlan> {
    let fields = schema["fields"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = fields.iter().filter_map(|field| field["name"].as_str()).collect();
    let order = |profile: &str, size: &str, item: Value, model: Value| {
        json!({
            "name": format!("demo {profile}"), "channel_profile": profile, "performance_profile": size,
            "data": [item], "output_data_model": model,
        })
    };
    let all = order("api", "S", json!({"element": element}), json!({}));

    let columns: Vec<&str> = names.iter().copied().take(names.len().div_ceil(2)).collect();
    let projection = order(
        "file",
        "M",
        json!({"element": element, "columns": columns}),
        json!({"options": {"format": "ndjson", "roll_seconds": 1}}),
    );

    let (filter, in_scope) = filter(&fields, records);
    let filtered = match &filter {
        Some(filter) => order("stream", "L", json!({"element": element, "filter": filter}), json!({})),
        None => order("stream", "L", json!({"element": element}), json!({})),
    };

    let (converted, conversion) = conversion(&fields);
    let webhook = order(
        "webhook",
        "M",
        json!({"element": element}),
        json!({"fields": converted, "options": {"url": webhook, "batch_records": 500}}),
    );

    vec![
        ChannelPlan { profile: "api", shows: "all columns".into(), order: all, expected: records.len() },
        ChannelPlan {
            profile: "file",
            shows: format!("columns {}", columns.join(", ")),
            order: projection,
            expected: records.len(),
        },
        ChannelPlan {
            profile: "stream",
            shows: filter.map_or_else(|| "all rows".into(), |filter| format!("rows where {filter}")),
            order: filtered,
            expected: in_scope,
        },
        ChannelPlan { profile: "webhook", shows: conversion, order: webhook, expected: records.len() },
    ]
}

/// A filter on the text column with the fewest values above one, and how many records fit it.
fn filter(fields: &[Value], records: &[Map<String, Value>]) -> (Option<String>, usize) {
    let distinct = |name: &str| -> BTreeSet<&str> {
        records.iter().filter_map(|record| record.get(name)?.as_str()).filter(|text| !NO_VALUE.contains(text)).collect()
    };
    let texts = fields.iter().filter(|field| field["type"] == "string").filter_map(|field| field["name"].as_str());
    let candidates = texts.map(|name| (name, distinct(name)));
    let chosen = candidates
        .filter(|(_, values)| (2..=LOW_CARDINALITY).contains(&values.len()))
        .min_by_key(|(_, values)| values.len());
    let Some((name, values)) = chosen else { return (None, records.len()) };
    let value = values.first().copied().unwrap_or_default();
    let count = records.iter().filter(|record| record.get(name).and_then(Value::as_str) == Some(value)).count();
    (Some(format!("{name} = '{}'", value.replace('\'', "''"))), count)
}

/// Output fields with one conversion: of units where the schema names one, arithmetic where there
/// is a number, renaming otherwise.
fn conversion(fields: &[Value]) -> (Value, String) {
    let mut output: Vec<Value> = fields.iter().map(|field| json!({"name": field["name"]})).collect();
    let known = fields.iter().enumerate().find_map(|(index, field)| {
        UNITS.iter().find(|(from, _)| field["unit"] == *from).map(|(from, to)| (index, *from, *to))
    });
    if let Some((index, from, to)) = known {
        output[index]["unit"] = json!({"from": from, "to": to});
        return (json!(output), format!("{} from {from} to {to}", fields[index]["name"].as_str().unwrap_or_default()));
    }
    let number = fields.iter().position(|field| field["type"] == "float64");
    if let Some(index) = number {
        let name = fields[index]["name"].as_str().unwrap_or_default().to_owned();
        output.push(json!({"name": format!("{name}_doubled"), "expression": format!("{name} * 2")}));
        return (json!(output), format!("{name}_doubled computed from {name}"));
    }
    let Some(first) = fields.first().and_then(|field| field["name"].as_str()) else {
        return (json!([]), "all columns".into());
    };
    output[0] = json!({"name": format!("{first}_renamed"), "from": first});
    (json!(output), format!("{first} renamed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_made_from_the_schema() {
        let schema = json!({"fields": [
            {"name": "site", "type": "string"}, {"name": "note", "type": "string"},
            {"name": "temp", "type": "float64", "unit": "[degF]"},
        ]});
        let records: Vec<Map<String, Value>> = (0..50)
            .map(|row| json!({"site": if row % 5 == 0 { "a" } else { "b" }, "note": row.to_string(), "temp": row}))
            .map(|record| record.as_object().cloned().unwrap())
            .collect();
        let plans = channels("el_1", &schema, &records, "http://127.0.0.1:1/hook");
        assert_eq!(plans.iter().map(|plan| plan.profile).collect::<Vec<_>>(), ["api", "file", "stream", "webhook"]);
        assert_eq!(plans[1].order["data"][0]["columns"], json!(["site", "note"]));
        assert_eq!(plans[2].order["data"][0]["filter"], "site = 'a'");
        assert_eq!(plans[2].expected, 10);
        assert_eq!(plans[3].order["output_data_model"]["fields"][2]["unit"]["to"], "Cel");
    }
}
