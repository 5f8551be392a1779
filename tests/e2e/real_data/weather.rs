//! The weather file: what its rows are after the conversions that the orders declare, computed
//! here from the text of the file.

use chrono::DateTime;
use serde_json::{Map, Value, json};

use crate::harness::records::number;

/// Name, type and unit of the columns, in the file's order.
pub const COLUMNS: [(&str, &str, Option<&str>); 15] = [
    ("origin", "string", None),
    ("year", "int64", None),
    ("month", "int64", None),
    ("day", "int64", None),
    ("hour", "int64", None),
    ("temp", "float64", Some("[degF]")),
    ("dewp", "float64", Some("[degF]")),
    ("humid", "float64", None),
    ("wind_dir", "float64", None),
    ("wind_speed", "float64", Some("[mi_i]/h")),
    ("wind_gust", "float64", Some("[mi_i]/h")),
    ("precip", "float64", Some("[in_i]")),
    ("pressure", "float64", Some("hPa")),
    ("visib", "float64", Some("[mi_i]")),
    ("time_hour", "timestamp", None),
];

/// The schema that the data-in order declares: key origin + `time_hour`.
pub fn schema() -> Value {
    let fields: Vec<Value> = COLUMNS
        .iter()
        .map(|(name, data_type, unit)| {
            let mut field = json!({"name": name, "type": data_type});
            if let Some(unit) = unit {
                field["unit"] = json!(unit);
            }
            if ["origin", "time_hour"].contains(name) {
                field["key"] = json!(true);
                field["required"] = json!(true);
            }
            field
        })
        .collect();
    json!({"fields": fields})
}

/// Every row of the file as typed values, `NA` as null.
pub fn rows(text: &str) -> Vec<Map<String, Value>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let header = reader.headers().expect("the file has a header").clone();
    assert_eq!(header.iter().collect::<Vec<_>>(), COLUMNS.map(|(name, ..)| name));
    reader
        .records()
        .map(|record| {
            let record = record.expect("the file is well-formed");
            COLUMNS
                .iter()
                .zip(record.iter())
                .map(|((name, data_type, _), text)| ((*name).to_owned(), typed(data_type, text)))
                .collect()
        })
        .collect()
}

fn typed(data_type: &str, text: &str) -> Value {
    match data_type {
        _ if text == "NA" => Value::Null,
        "int64" => json!(text.parse::<i64>().expect("a whole number")),
        "float64" => number(text.parse().expect("a number")),
        // One form on the wire: RFC 3339 in UTC with microseconds where there are any.
        "timestamp" => {
            json!(DateTime::parse_from_rfc3339(text).expect("a time").format("%Y-%m-%dT%H:%M:%SZ").to_string())
        }
        _ => json!(text),
    }
}
