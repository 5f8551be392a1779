//! Plans against a naive reading of SQL, record by record.

use std::sync::Arc;

use arrow::array::Array;
use headgate_types::model::{OutputField, OutputModel, UnitConversion};
use headgate_types::schema::{DataType, ElementKind};
use headgate_types::selection::{Policy, Scope};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::testing::{Change, sensors};
use super::{PlanCache, Transition};

/// A condition, in SQL and by hand.
#[derive(Debug, Clone)]
pub(super) enum Condition {
    Float(&'static str, f64),
    Ratio(&'static str, f64),
    Int(&'static str, i64),
    In(Vec<i64>),
    Text(&'static str, String),
    IsNull(&'static str),
    Ok,
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

fn compare<T: PartialOrd>(op: &str, a: T, b: T) -> bool {
    match op {
        "=" => a == b,
        "<>" => a != b,
        "<" => a < b,
        "<=" => a <= b,
        ">" => a > b,
        _ => a >= b,
    }
}

impl Condition {
    pub(super) fn sql(&self) -> String {
        match self {
            Self::Float(op, value) => format!("temp_f {op} {value:?}"),
            Self::Ratio(op, value) => format!("temp_f / temp_f * count {op} {value:?}"),
            Self::Int(op, value) => format!("count {op} {value}"),
            Self::In(values) => {
                let list: Vec<_> = values.iter().map(ToString::to_string).collect();
                format!("count IN ({})", list.join(", "))
            }
            Self::Text(op, value) => format!("site {op} '{}'", value.replace('\'', "''")),
            Self::IsNull(name) => format!("{name} IS NULL"),
            Self::Ok => "ok".into(),
            Self::Not(inner) => format!("NOT ({})", inner.sql()),
            Self::And(a, b) => format!("({} AND {})", a.sql(), b.sql()),
            Self::Or(a, b) => format!("({} OR {})", a.sql(), b.sql()),
        }
    }

    /// Three-valued: `None` is UNKNOWN.
    fn holds(&self, row: &Value) -> Option<bool> {
        let float = number(&row["temp_f"]);
        let count = row["count"].as_i64();
        match self {
            Self::Float(op, value) => Some(compare(op, float?, *value)),
            Self::Ratio(op, value) => {
                let ratio = float? / float? * count? as f64;
                ratio.is_finite().then(|| compare(op, ratio, *value))
            }
            Self::Int(op, value) => Some(compare(op, count?, *value)),
            Self::In(values) => Some(values.contains(&count?)),
            Self::Text(op, value) => Some(compare(op, row["site"].as_str()?, value.as_str())),
            Self::IsNull("temp_f") => Some(float.is_none()),
            Self::IsNull(name) => Some(row[*name].is_null()),
            Self::Ok => row["ok"].as_bool(),
            Self::Not(inner) => inner.holds(row).map(|holds| !holds),
            Self::And(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            Self::Or(a, b) => match (a.holds(row), b.holds(row)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
        }
    }
}

fn number(cell: &Value) -> Option<f64> {
    cell.as_f64().or_else(|| cell.as_str()?.parse().ok()).filter(|value: &f64| value.is_finite())
}

fn operator() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("="), Just("<>"), Just("<"), Just("<="), Just(">"), Just(">=")]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), Just(-1.5), Just(1.0), -3.0..3.0_f64]
}

pub(super) fn condition() -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        (operator(), float()).prop_map(|(op, value)| Condition::Float(op, value)),
        (operator(), float()).prop_map(|(op, value)| Condition::Ratio(op, value)),
        (operator(), -2..3_i64).prop_map(|(op, value)| Condition::Int(op, value)),
        proptest::collection::vec(-2..3_i64, 1..4).prop_map(Condition::In),
        (operator(), "[ab']{0,2}").prop_map(|(op, value)| Condition::Text(op, value)),
        prop_oneof![Just("temp_f"), Just("count"), Just("site"), Just("ok")].prop_map(Condition::IsNull),
        Just(Condition::Ok),
    ];
    leaf.prop_recursive(3, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| Condition::Not(Box::new(c))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Condition::And(Box::new(a), Box::new(b))),
            (inner.clone(), inner).prop_map(|(a, b)| Condition::Or(Box::new(a), Box::new(b))),
        ]
    })
}

fn row(id: i64) -> impl Strategy<Value = Value> {
    let cell = prop_oneof![
        Just(Value::Null),
        Just(json!("NaN")),
        Just(json!("-0.0")),
        Just(json!("inf")),
        float().prop_map(Value::from)
    ];
    let count = prop_oneof![Just(Value::Null), (-2..3_i64).prop_map(Value::from)];
    let site = prop_oneof![Just(Value::Null), "[ab']{0,2}".prop_map(Value::from)];
    let ok = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from)];
    (cell, count, site, ok).prop_map(
        move |(temp_f, count, site, ok)| json!({"id": id, "temp_f": temp_f, "count": count, "site": site, "ok": ok}),
    )
}

pub(super) fn rows() -> impl Strategy<Value = Vec<Value>> {
    proptest::collection::vec(row(1), 1..24)
}

pub(super) fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = (0..3, row(1), row(1), any::<bool>()).prop_map(|(kind, before, after, same)| match kind {
        0 => ("insert", after, None),
        1 => ("update", if same { before.clone() } else { after }, Some(before)),
        _ => ("delete", json!({"id": 1}), Some(before)),
    });
    proptest::collection::vec(change, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn a_filter_matches_exactly_the_rows_that_sql_says(condition in condition(), rows in rows()) {
        let element = sensors(ElementKind::Events);
        let shaped = element.plan(&condition.sql()).shape(&element.rows(1, &rows)).unwrap();
        let expected: Vec<u64> =
            (1..).zip(&rows).filter(|(_, row)| condition.holds(row) == Some(true)).map(|(at, _)| at).collect();
        prop_assert_eq!(shaped.offsets, expected, "{}", condition.sql());
    }

    #[test]
    fn a_change_is_what_its_images_make_it(condition in condition(), changes in changes()) {
        let element = sensors(ElementKind::Entity);
        let scope = Scope { filter: Some(condition.sql()), columns: vec!["id".into(), "count".into()], ..element.scope() };
        let plan = element.compile(&scope).unwrap();
        let shaped = plan.shape(&element.range(1, &changes)).unwrap();
        let mut expected = Vec::new();
        for (offset, (op, after, before)) in (1_u64..).zip(&changes) {
            let was = before.as_ref().is_some_and(|before| condition.holds(before) == Some(true));
            let is = *op != "delete" && condition.holds(after) == Some(true);
            match (was, is) {
                (false, true) => expected.push((offset, Transition::Insert)),
                (true, false) => expected.push((offset, Transition::Delete)),
                (true, true) if before.as_ref().unwrap()["count"] != after["count"] => {
                    expected.push((offset, Transition::Update));
                }
                _ => {}
            }
        }
        let found: Vec<_> = shaped.offsets.into_iter().zip(shaped.transitions).collect();
        prop_assert_eq!(found, expected, "{}", condition.sql());
    }

    #[test]
    fn records_are_rfc_8785_and_say_what_the_row_says(rows in rows()) {
        let element = sensors(ElementKind::Events);
        let encoded = element.compile(&element.scope()).unwrap().encode(&element.rows(1, &rows)).unwrap();
        prop_assert_eq!(encoded.len(), rows.len());
        let mut sum = headgate_types::checksum::Checksum::EMPTY;
        for (at, row) in rows.iter().enumerate() {
            let record: Value = serde_json::from_slice(encoded.json(at)).unwrap();
            let canonical = serde_json_canonicalizer::to_vec(&record).unwrap();
            prop_assert_eq!(encoded.json(at), canonical.as_slice());
            prop_assert_eq!(encoded.size(at), canonical.len() as u64);
            sum.add(&canonical);
            prop_assert_eq!(&record["count"], &row["count"]);
            prop_assert_eq!(record["temp_f"].as_f64(), number(&row["temp_f"]));
            prop_assert_eq!(&record["_id"], &json!(encoded.id(at).to_string()));
        }
        prop_assert_eq!(encoded.total_checksum(), sum);
    }
}

#[test]
fn a_condition_on_a_null_is_neither_true_nor_false() {
    let element = sensors(ElementKind::Events);
    let null = json!({"id": 1, "temp_f": null, "count": null, "site": null, "ok": null});
    for unknown in [
        "count IN (2) AND count IN (0)",
        "count NOT IN (2) OR count NOT IN (0)",
        "count IN (2) AND count NOT IN (2)",
        "count = 1 AND count <> 1",
        "count = 1 AND count = 2",
        "count < 1 AND count > 1",
        "count = 1 OR count <> 1",
        "count BETWEEN 3 AND 1",
        "count = count",
        "count - count = 0",
        "count * 0 = 0",
        "count % 1 = 0",
        "temp_f <> temp_f",
        "site LIKE '%'",
        "ok AND NOT ok",
        "ok OR NOT ok",
        "ok = ok",
        "site = upper(site)",
    ] {
        for condition in [unknown.to_owned(), format!("NOT ({unknown})")] {
            let shaped = element.plan(&condition).shape(&element.rows(1, std::slice::from_ref(&null))).unwrap();
            assert_eq!(shaped.offsets, [] as [u64; 0], "{condition}");
        }
    }
}

fn refusals(scope: &Scope) -> Vec<(String, String)> {
    let element = sensors(ElementKind::Entity);
    let errors = element.compile(scope).map(|_| ()).expect_err("the scope should be refused");
    errors.into_iter().map(|error| (error.pointer, error.code)).collect()
}

fn refusal(filter: &str) -> String {
    let scope = Scope { filter: Some(filter.into()), ..sensors(ElementKind::Entity).scope() };
    let errors = refusals(&scope);
    assert_eq!(errors.len(), 1, "{filter}: {errors:?}");
    assert_eq!(errors[0].0, "/filter");
    errors[0].1.clone()
}

#[test]
fn only_deterministic_expressions_over_one_record_are_taken() {
    for (filter, code) in [
        ("", "none"),
        ("count >", "invalid_expression"),
        ("count > 1; DROP TABLE x", "invalid_expression"),
        ("nosuch > 1", "unknown_column"),
        ("sensors.count > 1", "unknown_column"),
        ("\"COUNT\" > 1", "unknown_column"),
        ("count", "not_a_predicate"),
        ("count > 1.5", "invalid_literal"),
        ("temp_f = 9007199254740993", "invalid_literal"),
        ("count = '5'", "invalid_literal"),
        ("site = 5", "invalid_literal"),
        ("at > 'yesterday'", "invalid_literal"),
        ("day = '2013-01-01T05:00:00'", "invalid_literal"),
        ("ok = 1", "invalid_literal"),
        ("count = site", "type_mismatch"),
        ("site + 1 > 2", "type_mismatch"),
        ("count LIKE 'a%'", "type_mismatch"),
        ("at > now()", "function_not_allowed"),
        ("at > current_timestamp", "function_not_allowed"),
        ("random() > 0.5", "function_not_allowed"),
        ("uuid() = site", "function_not_allowed"),
        ("sum(count) > 1", "function_not_allowed"),
        ("row_number() OVER () = 1", "function_not_allowed"),
        ("nosuchfunction(count) = 1", "function_not_allowed"),
        ("repeat(site, 1000000) = 'a'", "function_not_allowed"),
        ("read_csv('/etc/passwd') = 'a'", "function_not_allowed"),
        ("count IN (SELECT 1)", "subquery_not_allowed"),
        ("count = (SELECT max(count) FROM sensors)", "subquery_not_allowed"),
        ("EXISTS (SELECT 1)", "subquery_not_allowed"),
        ("site LIKE site", "expression_not_allowed"),
        ("regexp_like(site, site)", "expression_not_allowed"),
        ("regexp_like(site, '(')", "invalid_pattern"),
        ("site ~ '['", "invalid_pattern"),
        ("regexp_replace(site, '(', 'x') = 'a'", "invalid_pattern"),
    ]
    .into_iter()
    .skip(1)
    {
        assert_eq!(refusal(filter), code, "{filter}");
    }
    assert_eq!(refusal(&vec!["count = 1"; 200].join(" OR ")), "expression_too_deep");
    assert_eq!(refusal(&format!("{}count = 1{}", "(".repeat(400), ")".repeat(400))), "invalid_expression");
    assert_eq!(refusal(&format!("site = '{}'", "a".repeat(9_000))), "expression_too_long");
    let grown = (0..4).fold("site".to_owned(), |inner, _| format!("replace({inner}, 'a', '{}')", "a".repeat(100)));
    assert_eq!(refusal(&format!("{grown} = 'a'")), "expression_too_large");
}

#[test]
fn expressions_people_write_are_understood() {
    let element = sensors(ElementKind::Events);
    let row = json!({"id": 1, "site": "Oslo", "temp_f": 71.6, "count": 4, "ok": true,
        "at": "2013-01-01T05:30:00Z", "day": "2013-01-01", "extra": {"a": [1, 2]}});
    let range = element.rows(1, &[row]);
    for filter in [
        "Site = 'Oslo' AND COUNT > 3",
        "\"site\" IN ('Oslo', 'Bergen')",
        "site LIKE 'O%' AND site ILIKE '%LO' AND site NOT LIKE 'x%'",
        "site ~ '^O.*o$' AND regexp_like(site, 'oslo', 'i') AND regexp_replace(site, 's', 'z') = 'Ozlo'",
        "temp_f BETWEEN 70 AND 72.5",
        "at >= '2013-01-01' AND at < TIMESTAMP '2013-01-02 00:00:00'",
        "at >= DATE '2013-01-01' AND day = DATE '2013-01-01' AND day = '2013-01-01'",
        "at < '9999-12-31'",
        "EXTRACT(HOUR FROM at) = 5 AND date_trunc('day', at) = '2013-01-01T00:00:00Z'",
        "at + INTERVAL '1 day' > '2013-01-02'",
        "CASE count WHEN 4 THEN 'four' ELSE 'other' END = 'four'",
        "CAST(count AS VARCHAR) = '4' AND count::double = 4.0",
        "coalesce(site, 'none') || '!' = 'Oslo!'",
        "(site || '!') = 'Oslo!'",
        "upper(site) = 'OSLO' AND length(site) = 4 AND substring(site FROM 1 FOR 2) = 'Os'",
        "round((temp_f - 32) * 5 / 9) = 22",
        "NOT (count = 5) AND ok AND ok IS TRUE AND (extra IS NOT NULL)",
        "trim(site) = 'Oslo' AND position('s' IN site) = 2",
        "(count IS DISTINCT FROM 5) AND count % 2 = 0 AND -count = -4",
    ] {
        let shaped = element.plan(filter).shape(&range).unwrap();
        assert_eq!(shaped.offsets, [1], "{filter}");
    }
}

#[test]
fn what_has_no_value_never_matches_and_costs_only_its_row() {
    let element = sensors(ElementKind::Events);
    let rows: Vec<_> = (0..100).map(|id| json!({"id": id, "count": id % 10, "site": id.to_string()})).collect();
    let range = element.rows(1, &rows);
    let matching = |filter: &str| element.plan(filter).shape(&range).unwrap().offsets.len();
    assert_eq!(matching("100 / count > 0"), 90);
    assert_eq!(matching("NOT (100 / count > 0)"), 0);
    assert_eq!(matching("100 / count IS NULL"), 10);
    assert_eq!(matching("9223372036854775807 + count > 0"), 10);
    assert_eq!(matching("CAST(site AS BIGINT) < 50"), 50);
    assert_eq!(matching("CAST(concat(site, 'x') AS BIGINT) < 50"), 0);
    assert_eq!(matching("CASE WHEN count = 0 THEN true ELSE 100 / count > 20 END"), 10 + 40);
}

#[test]
fn a_policy_hides_rows_and_columns_as_if_they_did_not_exist() {
    let element = sensors(ElementKind::Events);
    let policy = Policy { filter: Some("site = 'Oslo' AND ok".into()), columns: vec!["id".into(), "count".into()] };
    let scope = Scope { policy, filter: Some("count > 0".into()), ..element.scope() };
    let plan = element.compile(&scope).unwrap();
    let names: Vec<_> = plan.output_schema().fields.iter().map(|field| field.name.as_str()).collect();
    assert_eq!(names, ["id", "count"]);
    let row = |site: &str, count: i64, ok: bool| json!({"id": 1, "site": site, "count": count, "ok": ok});
    let rows = [row("Oslo", 1, true), row("Rome", 1, true), row("Oslo", 0, true), row("Oslo", 1, false)];
    assert_eq!(plan.shape(&element.rows(1, &rows)).unwrap().offsets, [1]);

    let hidden = Scope { filter: Some("site = 'Oslo'".into()), ..scope.clone() };
    assert_eq!(element.compile(&hidden).unwrap_err()[0].code, "unknown_column");
    let hidden = Scope { columns: vec!["count".into(), "temp_f".into()], ..scope };
    let errors = element.compile(&hidden).unwrap_err();
    assert_eq!((errors[0].pointer.as_str(), errors[0].code.as_str()), ("/columns/1", "unknown_column"));
}

fn field(name: &str) -> OutputField {
    OutputField { name: name.into(), from: None, expression: None, data_type: None, unit: None, description: None }
}

#[test]
fn a_model_renames_computes_converts_and_casts() {
    let element = sensors(ElementKind::Entity);
    let celsius = UnitConversion { from: None, to: "Cel".into() };
    let model = OutputModel {
        fields: vec![
            OutputField { from: Some("id".into()), data_type: Some(DataType::String), ..field("sensor") },
            OutputField { from: Some("temp_f".into()), unit: Some(celsius), ..field("temperature") },
            OutputField { expression: Some("upper(site)".into()), ..field("place") },
            OutputField { from: Some("at".into()), data_type: Some(DataType::Date), ..field("on") },
            OutputField { from: Some("temp_f".into()), data_type: Some(DataType::Int64), ..field("about") },
            OutputField { expression: Some("count / 0".into()), ..field("nothing") },
            field("extra"),
        ],
        ..OutputModel::default()
    };
    let plan = element.compile(&Scope { model, ..element.scope() }).unwrap();
    let fields = &plan.output_schema().fields;
    assert_eq!(fields[1].unit.as_deref(), Some("Cel"));
    assert!(fields[0].key && !fields[2].key);
    let before = json!({"id": 9_007_199_254_740_993_i64, "temp_f": 212.5, "site": "oslo",
        "at": "2013-01-01T05:30:00Z", "extra": {"b": 1, "a": 9_007_199_254_740_993_i64}});
    let range = element.range(
        7,
        &[("insert", before.clone(), None), ("delete", json!({"id": 9_007_199_254_740_993_i64}), Some(before))],
    );
    let encoded = plan.encode(&range).unwrap();
    let record: Value = serde_json::from_slice(encoded.json(0)).unwrap();
    assert_eq!(record["sensor"], "9007199254740993");
    assert!((record["temperature"].as_f64().unwrap() - 100.277_777).abs() < 1e-5);
    assert_eq!((&record["place"], &record["on"]), (&json!("OSLO"), &json!("2013-01-01")));
    assert_eq!((&record["about"], &record["nothing"]), (&json!(213), &Value::Null));
    // Digits reach the receiver; size and checksum are those of the canonical form.
    assert_eq!(record["extra"]["a"], json!(9_007_199_254_740_993_i64));
    let canonical = serde_json_canonicalizer::to_vec(&record).unwrap();
    let mut sum = headgate_types::checksum::Checksum::EMPTY;
    sum.add(&canonical);
    assert_eq!((encoded.size(0), encoded.checksum(0..1)), (canonical.len() as u64, sum));
    let delete: Value = serde_json::from_slice(encoded.json(1)).unwrap();
    let id = encoded.id(1).to_string();
    assert_eq!(delete, json!({"_id": id, "_op": "delete", "sensor": "9007199254740993"}));
    assert!(encoded.is_delete(1) && encoded.batch().column(1).is_null(1));
    assert_eq!(encoded.key_hash(0), encoded.key_hash(1));
}

#[test]
fn errors_point_into_the_scope() {
    let element = sensors(ElementKind::Entity);
    let both = OutputField { from: Some("id".into()), expression: Some("id".into()), ..field("a") };
    let model = OutputModel {
        fields: vec![
            field("id"),
            both,
            OutputField { expression: Some("nosuch + 1".into()), ..field("b") },
            OutputField { from: Some("nosuch".into()), ..field("c") },
            OutputField { from: Some("site".into()), data_type: Some(DataType::Timestamp), ..field("ID") },
            OutputField { from: Some("ok".into()), data_type: Some(DataType::Date), ..field("_d") },
            OutputField { unit: Some(UnitConversion { from: None, to: "Cel".into() }), ..field("count") },
            OutputField { unit: Some(UnitConversion { from: None, to: "m".into() }), ..field("temp_f") },
        ],
        filter: Some("count > now()".into()),
        ..OutputModel::default()
    };
    let scope = Scope { model, filter: Some("1 = 1 AND".into()), ..element.scope() };
    let pointers: Vec<_> = refusals(&scope).into_iter().map(|(pointer, _)| pointer).collect();
    assert_eq!(
        pointers,
        [
            "/filter",
            "/model/filter",
            "/model/fields/1",
            "/model/fields/2/expression",
            "/model/fields/3/from",
            "/model/fields/4/name",
            "/model/fields/5/name",
            "/model/fields/5/type",
            "/model/fields/6/unit/from",
            "/model/fields/7/unit/to",
        ]
    );
    let keyless = Scope { columns: vec!["site".into()], ..element.scope() };
    assert_eq!(refusals(&keyless), [("/columns".to_owned(), "key_missing".to_owned())]);
}

#[test]
fn identity_follows_meaning_and_not_spelling() {
    let element = sensors(ElementKind::Events);
    let id = |filter: &str| element.plan(filter).id();
    assert_eq!(id("count > 1"), id("COUNT  >  1"));
    assert_ne!(id("count > 1"), id("count > 2"));
    assert_ne!(id("site = 'a'' AND site = ''b'"), id("site = 'a' AND site = 'b'"));
    let split = Scope {
        filter: Some("count > 1".into()),
        policy: Policy { filter: Some("ok".into()), columns: Vec::new() },
        ..element.scope()
    };
    let swapped = Scope {
        filter: Some("ok".into()),
        policy: Policy { filter: Some("count > 1".into()), columns: Vec::new() },
        ..element.scope()
    };
    let (split, swapped) = (element.compile(&split).unwrap(), element.compile(&swapped).unwrap());
    assert_eq!(split.id(), swapped.id());
    // Same rows, other columns: another plan, the same record ids.
    let narrow = Scope { columns: vec!["id".into()], filter: Some("count > 1".into()), ..element.scope() };
    let narrow = element.compile(&narrow).unwrap();
    let range = element.rows(1, &[json!({"id": 1, "count": 5})]);
    assert_ne!(narrow.id(), id("count > 1"));
    assert_eq!(narrow.shape(&range).unwrap().ids, element.plan("count > 1").shape(&range).unwrap().ids);
}

#[tokio::test]
async fn a_range_is_shaped_once_whoever_asks_and_forgotten_when_memory_ends() {
    let element = sensors(ElementKind::Events);
    let rows: Vec<_> = (0..100).map(|id| json!({"id": id, "count": 1})).collect();
    let range = element.rows(1, &rows);
    let cache = PlanCache::new(1 << 20);
    let plans: Vec<_> = (0..8).map(|_| Arc::new(element.plan("count = 1"))).collect();
    let all = futures::future::join_all(plans.iter().map(|plan| cache.encode(plan, &range))).await;
    assert_eq!(cache.shaped(), 1);
    let first = all[0].as_ref().unwrap();
    assert!(all.iter().all(|encoded| Arc::ptr_eq(encoded.as_ref().unwrap(), first)));
    assert_eq!(first.rows_between(10, 20), 10..20);

    let tiny = PlanCache::new(1);
    tiny.encode(&plans[0], &range).await.unwrap();
    tiny.encode(&plans[0], &range).await.unwrap();
    assert_eq!((tiny.shaped(), tiny.bytes()), (2, 0));
}

#[tokio::test]
async fn a_scope_is_checked_with_the_plan_that_will_deliver() {
    let element = sensors(ElementKind::Events);
    let rows: Vec<_> = (0..100).map(|id| json!({"id": id, "count": id % 2})).collect();
    let scope = Scope { filter: Some("count = 1".into()), ..element.scope() };
    let input = super::PlanInput {
        element: element.id,
        kind: element.kind,
        schema_id: element.schema_id,
        schema: &element.schema,
        scope: &scope,
        record_id_key: &[7; 32],
    };
    let looking = |most| super::Looking {
        preview_records: 3,
        rows: futures::stream::iter([Ok(element.rows(1, &rows)), Ok(element.rows(101, &rows))]),
        most,
        all: async || Ok(2_000),
    };
    let report = super::check_scope(input, Some(looking(1_000))).await.unwrap();
    assert_eq!((report.records_in_scope, report.preview.len()), (100, 3));
    let plan = element.compile(&scope).unwrap();
    let bytes = [element.rows(1, &rows), element.rows(101, &rows)]
        .iter()
        .map(|range| plan.encode(range).unwrap().total_bytes())
        .sum::<u64>();
    assert_eq!(report.bytes_in_scope, bytes);
    // Of a larger element the beginning is looked at, and the rest is reckoned from how many rows there are.
    let reckoned = super::check_scope(input, Some(looking(100))).await.unwrap();
    assert_eq!((reckoned.records_in_scope, reckoned.preview.len()), (1_000, 3));
    assert_eq!(reckoned.bytes_in_scope / 100, bytes * 10 / 100);
    let wrong = Scope { filter: Some("nosuch = 1".into()), ..element.scope() };
    let report = super::check_scope(super::PlanInput { scope: &wrong, ..input }, Some(looking(1))).await;
    assert_eq!(report.unwrap().errors[0].pointer, "/filter");
}
