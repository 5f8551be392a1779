//! Filters and models of consumers in every form but the right one.

use headgate_types::schema::ElementKind;
use headgate_types::selection::Scope;
use serde_json::json;

use super::testing::{Element, sensors};
use super::types::{date_text, parse_date, parse_timestamp, timestamp_text};
use super::{RecordId, Transition};
use crate::fuzz;

/// Compiles the scope and, where that is possible, shapes rows with everything in them.
fn shaped(element: &Element, scope: &Scope) -> Result<usize, Vec<String>> {
    let plan =
        element.compile(scope).map_err(|errors| errors.into_iter().map(|error| error.code).collect::<Vec<_>>())?;
    let rows = [
        json!({"id": 1, "site": "a", "temp_f": -0.0, "count": i64::MAX, "ok": true, "at": "2024-05-01T10:00:00Z",
            "day": "2024-02-29", "extra": {"a": [null]}}),
        json!({"id": i64::MIN, "site": "", "temp_f": f64::MAX, "count": 0, "ok": false}),
        json!({"id": 3}),
    ];
    let range = element.rows(1, &rows);
    let shaped = plan.shape(&range).map_err(|error| vec![error.to_string()])?;
    assert!(shaped.offsets.len() <= rows.len());
    let encoded = plan.encode(&range).map_err(|error| vec![error.to_string()])?;
    for row in 0..encoded.len() {
        assert!(serde_json::from_slice::<serde_json::Value>(encoded.json(row)).is_ok());
        assert!(matches!(encoded.transition(row), Transition::Insert | Transition::Update | Transition::Delete));
    }
    Ok(shaped.offsets.len())
}

const FILTERS: &[&str] = &[
    "temp_f > 68 AND site IN ('a', 'b') OR NOT ok",
    "CASE WHEN count BETWEEN 1 AND 2 THEN site LIKE 'a%' ELSE day >= DATE '2024-01-01' END",
    "abs(temp_f) / count * 2 - 1 <= 1e300 AND upper(trim(site)) || 'x' <> '' AND at IS NOT NULL",
    "CAST(count AS DOUBLE) = 1.5 OR coalesce(site, 'x') = 'x' OR at > TIMESTAMP '2024-01-01T00:00:00Z'",
];

#[test]
fn an_expression_is_taken_and_computed_or_refused() {
    let element = sensors(ElementKind::Events);
    fuzz::text("fanout-engine/src/shape/expression.rs parse", FILTERS, |text| {
        shaped(&element, &Scope { filter: Some(text.to_owned()), ..element.scope() })
    });
}

#[test]
fn an_output_model_is_taken_and_computed_or_refused() {
    let element = sensors(ElementKind::Events);
    let model = r#"{"fields":[{"name":"id"},{"name":"t","from":"temp_f","unit":{"to":"Cel"}},{"name":"c","from":"count",
        "cast":"string"},{"name":"e","expression":"count / 2"}],"options":{}}"#;
    let seeds = [model, r#"{"fields":[{"name":"site","from":"extra"}]}"#];
    fuzz::text("fanout-engine/src/shape/output.rs OutputModel", &seeds, |text| {
        let model = serde_json::from_str(text).map_err(|error| vec![format!("{:?}", error.classify())])?;
        shaped(&element, &Scope { model, ..element.scope() })
    });
}

#[test]
fn times_and_ids_are_written_as_they_were_read() {
    // The second was read, and its text was not (seed 4242).
    let seeds = ["2024-05-01T10:00:00.000001+02:00", "-0024-05-01T10:0", "9999-12-31T23:59:59-00:01"];
    fuzz::text("fanout-engine/src/shape/types.rs parse_timestamp", &seeds, |text| {
        let micros = parse_timestamp(text)?;
        assert_eq!(parse_timestamp(&timestamp_text(micros).unwrap()), Some(micros), "{text}");
        Some(micros > 0)
    });
    fuzz::text("fanout-engine/src/shape/types.rs parse_date", &["2024-02-29", "-0024-05-01"], |text| {
        let days = parse_date(text)?;
        assert_eq!(parse_date(&date_text(days).unwrap()), Some(days), "{text}");
        Some(days > 0)
    });
    fuzz::text("fanout-engine/src/shape/identity.rs from_str", &["000102030405060708090a0b0c0d0e0f"], |text| {
        let id: RecordId = text.parse().ok()?;
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        Some(())
    });
}
