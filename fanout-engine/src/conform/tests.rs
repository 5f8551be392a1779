use std::io::{Cursor, Write};
use std::sync::Arc;

use headgate_types::engine::InferSchema;
use headgate_types::model::{
    InputField, InputModel, OperationField, PayloadFormat, UnitConversion, UnknownFields, WriteMode,
};
use headgate_types::schema::{DAYS, DataType, ElementKind, Field, MICROS, Schema};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn schema(fields: &[(&str, DataType)]) -> Schema {
    Schema { fields: fields.iter().map(|(name, data_type)| Field::new(*name, *data_type)).collect() }
}

fn all(plan: InputPlan, format: PayloadFormat, encoding: Option<&str>, bytes: &[u8], limit: u64) -> Chunk {
    let mut conformer = conformer(plan, format, encoding, bytes, limit, 0);
    let chunk = conformer.next_chunk(usize::MAX, u64::MAX).unwrap();
    assert!(chunk.finished);
    chunk
}

fn conformer(
    plan: InputPlan,
    format: PayloadFormat,
    encoding: Option<&str>,
    bytes: &[u8],
    limit: u64,
    skip: u64,
) -> Conformer {
    let bytes = bytes.to_vec();
    let source = Source {
        format,
        encoding: encoding.map(str::to_owned),
        limit,
        open: Box::new(move || Ok(Box::new(Cursor::new(bytes.clone())))),
    };
    Conformer::open(Arc::new(plan), &source, skip).unwrap()
}

fn events(schema: &Schema, model: InputModel, format: PayloadFormat, text: &str) -> Chunk {
    let plan = InputPlan::compile(ElementKind::Events, schema, &model).unwrap();
    all(plan, format, None, text.as_bytes(), u64::MAX)
}

fn codes(chunk: &Chunk) -> Vec<(u64, &str, Option<&str>)> {
    chunk.refused.iter().map(|r| (r.ordinal, r.refusal.code, r.refusal.field_path.as_deref())).collect()
}

fn one(data_type: DataType) -> Schema {
    schema(&[("v", data_type)])
}

#[test]
fn nothing_is_converted_that_the_model_does_not_name() {
    let lines = r#"{"v": 12}
{"v": "12"}
{"v": 1.5}
{"v": 2.0}
{"v": true}
{"v": 99999999999999999999}
{"v": [1]}
{"v": 1, "v": 2}
{"v": null}
{"w": 1}
"#;
    let chunk = events(&one(DataType::Int64), InputModel::default(), PayloadFormat::Ndjson, lines);
    let values: Vec<_> = chunk.rows.iter().map(|row| row.values[0].clone()).collect();
    assert_eq!(values, [Scalar::Int(12), Scalar::Int(2), Scalar::Null, Scalar::Null]);
    assert_eq!(
        codes(&chunk),
        [
            (2, "wrong_type", Some("v")),
            (3, "not_an_integer", Some("v")),
            (5, "wrong_type", Some("v")),
            (6, "out_of_range", Some("v")),
            (7, "wrong_type", Some("v")),
            (8, "duplicate_key", Some("v")),
        ]
    );
    assert_eq!(chunk.refused[0].raw, r#"{"v": "12"}"#);
}

#[test]
fn a_cast_converts_text_and_only_text_that_is_a_number() {
    let cast = InputField { cast: true, decimal_separator: Some(','), trim: true, ..InputField::plain("v") };
    let model = InputModel { fields: vec![cast], ..InputModel::default() };
    let lines = "{\"v\":\" 1,5 \"}\n{\"v\":\"1.5\"}\n{\"v\":\"x\"}\n{\"v\":\"-0,0\"}\n{\"v\":\"inf\"}\n{\"v\":\"NaN\"}";
    let chunk = events(&one(DataType::Float64), model, PayloadFormat::Ndjson, lines);
    let values: Vec<_> = chunk.rows.iter().map(|row| row.values[0].clone()).collect();
    assert_eq!(values, [Scalar::Float(1.5), Scalar::Float(0.0), Scalar::Null]);
    assert!(matches!(values[1], Scalar::Float(zero) if zero.is_sign_positive()));
    assert_eq!(
        codes(&chunk).iter().map(|c| (c.0, c.1)).collect::<Vec<_>>(),
        [(2, "not_a_number"), (3, "not_a_number"), (5, "out_of_range")]
    );
}

#[test]
fn csv_takes_null_markers_units_and_dates() {
    let schema = Schema {
        fields: vec![
            Field::new("origin", DataType::String).as_key(),
            Field { unit: Some("Cel".into()), ..Field::new("temp", DataType::Float64) },
            Field::new("day", DataType::Date),
            Field::new("at", DataType::Timestamp),
            Field::new("gust", DataType::Float64),
        ],
    };
    let model = InputModel {
        null_markers: vec!["NA".into()],
        fields: vec![
            InputField::plain("origin"),
            InputField {
                from: Some("temp (F)".into()),
                unit: Some(UnitConversion { from: Some("[degF]".into()), to: "Cel".into() }),
                ..InputField::plain("temp")
            },
            InputField { date_format: Some("%d.%m.%Y".into()), ..InputField::plain("day") },
            InputField::plain("at"),
            InputField { default: Some(json!(0.5)), ..InputField::plain("gust") },
        ],
        ..InputModel::default()
    };
    let text = "\u{feff}origin,temp (F),day,at,gust,other\n\
                EWR,212,01.02.2013,2013-01-01T06:00:00Z,NA,x\n\
                ,50,01.02.2013,2013-01-01T06:00:00Z,1,x\n\
                \"JFK\",32,2013-02-01,2013-01-01 06:00:00.25,1,x\n\
                LGA,NA,,2013-01-01T06:00:00+01:00,1,x\n\
                LGA,1\n\
                LGA,1,01.02.+12013,2013-01-01T06:00:00Z,1,x\n\
                LGA,1,,0000-01-01T00:00:00+00:01,1,x\n\
                LGA,1,31.12.9999,9999-12-31T23:59:59.999999Z,1,x\n";
    let plan = InputPlan::compile(ElementKind::Entity, &schema, &model).unwrap();
    let chunk = all(plan, PayloadFormat::Csv, None, text.as_bytes(), u64::MAX);
    assert_eq!(
        codes(&chunk),
        [
            (2, "required", Some("origin")),
            (3, "not_a_date", Some("day")),
            (5, "ragged_row", None),
            (6, "out_of_range", Some("day")),
            (7, "out_of_range", Some("at")),
        ]
    );
    assert_eq!(chunk.rows[2].values[2..4], [Scalar::Days(*DAYS.end()), Scalar::Micros(*MICROS.end())]);
    assert_eq!(chunk.refused[1].raw, "JFK,32,2013-02-01,2013-01-01 06:00:00.25,1,x");
    let micros = 1_357_020_000_000_000;
    assert_eq!(
        chunk.rows[0].values[1..],
        [Scalar::Float(100.0), Scalar::Days(15_737), Scalar::Micros(micros), Scalar::Float(0.5)]
    );
    assert_eq!(chunk.rows[1].values[1..4], [Scalar::Null, Scalar::Null, Scalar::Micros(micros - 3_600_000_000)]);
}

#[test]
fn a_path_through_what_is_no_object_is_refused_and_one_through_nothing_is_no_value() {
    let schema = schema(&[("city", DataType::String), ("all", DataType::Json)]);
    let from = |name: &str, path: &str| InputField { from: Some(path.into()), ..InputField::plain(name) };
    let model = InputModel { fields: vec![from("city", "a.city"), from("all", "a.b.c")], ..InputModel::default() };
    let lines = [
        r#"{"a":{"city":"x","b":{"c":[1]}}}"#,
        r#"{"a":[{"city":"x"}]}"#,
        r#"{"a":"x"}"#,
        r#"{"a":{"city":"x","b":[{"c":1}]}}"#,
        r#"{"a":null}"#,
        r#"{}"#,
    ];
    let chunk = events(&schema, model, PayloadFormat::Ndjson, &lines.join("\n"));
    let refused =
        [(2, "wrong_type", Some("a.city")), (3, "wrong_type", Some("a.city")), (4, "wrong_type", Some("a.b.c"))];
    assert_eq!(codes(&chunk), refused);
    assert_eq!(chunk.refused[0].refusal.reason, "an array where the path needs an object");
    assert_eq!(chunk.rows.len(), 3);
    assert_eq!(chunk.rows[0].values, [Scalar::Text("x".into()), Scalar::Text("[1]".into())]);
    assert_eq!(chunk.rows[2].values, [Scalar::Null, Scalar::Null]);
}

#[test]
fn dotted_paths_unknown_fields_and_json_columns() {
    let schema = schema(&[("city", DataType::String), ("tags", DataType::Json)]);
    let city = InputField { from: Some("address.city".into()), ..InputField::plain("city") };
    let model = InputModel {
        fields: vec![city, InputField::plain("tags")],
        unknown_fields: UnknownFields::Reject,
        ..InputModel::default()
    };
    let lines =
        "{\"address\":{\"city\":\"Ö\\u0041\"},\"tags\":[1.50, {\"a\" : \"b\"}]}\n{\"tags\":1,\"x\":1}\n[]\n{\"tags\":";
    let chunk = events(&schema, model, PayloadFormat::Ndjson, lines);
    assert_eq!(chunk.rows[0].values, [Scalar::Text("ÖA".into()), Scalar::Text(r#"[1.50,{"a":"b"}]"#.into())]);
    assert_eq!(codes(&chunk), [(2, "unknown_field", Some("x")), (3, "not_an_object", None), (4, "truncated", None)]);
}

#[test]
fn what_a_refusal_quotes_is_cut_and_fit_for_any_database() {
    let long = "m".repeat(100_000);
    let lines = format!("{{\"a\\u0000\":1,\"a\\u0000\":2}}\n{{\"{long}\":1,\"{long}\":2}}\n");
    let chunk = events(&one(DataType::Int64), InputModel::default(), PayloadFormat::Ndjson, &lines);
    assert_eq!(codes(&chunk)[0], (1, "duplicate_key", Some("a\u{fffd}")));
    assert_eq!(codes(&chunk)[1], (2, "duplicate_key", Some(&long[..256])));
    assert_eq!(chunk.refused[1].refusal.reason.len(), 1_024);
    assert_eq!(chunk.refused[1].raw.len(), lines.lines().nth(1).unwrap().len(), "the record is kept whole");
    let csv = events(&one(DataType::Int64), InputModel::default(), PayloadFormat::Csv, "v\0,v\0\n1,2\n");
    assert_eq!(codes(&csv), [(0, "duplicate_key", Some("v\u{fffd}"))]);
    let shown = chunk.refused.iter().chain(&csv.refused).map(|refused| &refused.refusal);
    for refusal in shown {
        assert!(!format!("{}{:?}", refusal.reason, refusal.field_path).contains('\0'), "{refusal:?}");
    }
}

#[test]
fn a_delete_needs_the_key_only() {
    let schema = Schema {
        fields: vec![
            Field::new("id", DataType::Int64).as_key(),
            Field { required: true, ..Field::new("name", DataType::String) },
        ],
    };
    let model = InputModel {
        operation: Some(OperationField { field: "change".into(), delete: vec!["D".into()] }),
        ..InputModel::default()
    };
    let plan = InputPlan::compile(ElementKind::Entity, &schema, &model).unwrap();
    let text = r#"[{"id":1,"name":"a","change":"U"}, {"id":2,"change":"D"}, {"id":3}, {"change":"D"}]"#;
    let chunk = all(plan, PayloadFormat::Json, None, text.as_bytes(), u64::MAX);
    let operations: Vec<_> = chunk.rows.iter().map(|row| row.operation).collect();
    assert_eq!(operations, [Operation::Write, Operation::Delete]);
    assert_eq!(chunk.rows[1].values, [Scalar::Int(2), Scalar::Null]);
    assert_eq!(codes(&chunk), [(3, "required", Some("name")), (4, "required", Some("id"))]);
}

#[test]
fn a_broken_document_is_refused_as_a_whole() {
    for (text, code) in [
        (r#"[{"v":1},{"v":2"#, "truncated"),
        (r#"[{"v":1} {"v":2}]"#, "invalid_json"),
        (r#"{"v":1}{"v":2}"#, "invalid_json"),
        ("", "truncated"),
        ("[{\"v\":1}", "truncated"),
    ] {
        let chunk = events(&one(DataType::Int64), InputModel::default(), PayloadFormat::Json, text);
        assert_eq!((chunk.rows.len(), codes(&chunk)), (0, vec![(0, code, None)]), "{text}");
    }
    let deep = format!("[{}]", "[".repeat(100_000));
    let chunk = events(&one(DataType::Int64), InputModel::default(), PayloadFormat::Json, &deep);
    assert_eq!(codes(&chunk), [(0, "invalid_json", None)]);
}

#[test]
fn a_bomb_and_a_broken_stream_leave_no_record() {
    let plan = || InputPlan::compile(ElementKind::Events, &one(DataType::Int64), &InputModel::default()).unwrap();
    let lines = "{\"v\":1}\n".repeat(100_000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(lines.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(lines.as_bytes(), 3).unwrap();
    for (encoding, packed) in [("gzip", &gzip), ("zstd", &zstd)] {
        let whole = all(plan(), PayloadFormat::Ndjson, Some(encoding), packed, 1 << 20);
        assert_eq!(whole.rows.len(), 100_000, "{encoding}");
        let bomb = all(plan(), PayloadFormat::Ndjson, Some(encoding), packed, 100_000);
        assert_eq!((bomb.rows.len(), codes(&bomb)), (0, vec![(0, "payload_too_large", None)]), "{encoding}");
        let cut = all(plan(), PayloadFormat::Ndjson, Some(encoding), &packed[..packed.len() - 9], 1 << 20);
        assert_eq!((cut.rows.len(), codes(&cut)), (0, vec![(0, "invalid_encoding", None)]), "{encoding}");
    }
    // What was landed under a larger size is never cut.
    let plain = all(plan(), PayloadFormat::Ndjson, None, lines.as_bytes(), 10);
    assert_eq!((plain.rows.len(), plain.refused.len()), (100_000, 0));
    let unknown = all(plan(), PayloadFormat::Ndjson, Some("br"), b"x", 10);
    assert_eq!(codes(&unknown), [(0, "unknown_encoding", None)]);
}

#[test]
fn a_line_of_a_hundred_megabytes_costs_that_line() {
    let mut text = String::from("{\"v\":1}\n{\"v\":\"");
    text.extend(std::iter::repeat_n('x', 100 << 20));
    text.push_str("\"}\n{\"v\":2}\n");
    let chunk = events(&one(DataType::Int64), InputModel::default(), PayloadFormat::Ndjson, &text);
    assert_eq!(chunk.rows.len(), 2);
    assert_eq!(codes(&chunk), [(2, "record_too_large", None)]);
    assert_eq!(chunk.refused[0].raw.len(), MAX_EXCERPT_BYTES);
}

#[test]
fn chunks_and_a_restart_give_the_same_records() {
    let plan = || InputPlan::compile(ElementKind::Events, &one(DataType::Int64), &InputModel::default()).unwrap();
    for (format, text) in [
        (PayloadFormat::Ndjson, "{\"v\":1}\n\nx\n{\"v\":3}\n{\"v\":4}\n"),
        (PayloadFormat::Json, "[{\"v\":1},{\"v\":\"x\"},{\"v\":3},{\"v\":4}]"),
        (PayloadFormat::Csv, "v\n1\nx\n3\n4\n"),
    ] {
        let whole = all(plan(), format, None, text.as_bytes(), u64::MAX);
        assert_eq!((whole.rows.len(), whole.refused.len(), whole.last), (3, 1, 4), "{format:?}");
        let mut done = 0;
        let mut rows = Vec::new();
        loop {
            // Every chunk by a conformer of its own, as after a crash.
            let chunk =
                conformer(plan(), format, None, text.as_bytes(), u64::MAX, done).next_chunk(1, u64::MAX).unwrap();
            done = chunk.last;
            rows.extend(chunk.rows);
            if chunk.finished {
                break;
            }
        }
        assert_eq!(rows, whole.rows, "{format:?}");
    }
}

#[test]
fn a_csv_that_ends_inside_quotes_is_truncated_there() {
    let schema = schema(&[("a", DataType::String), ("b", DataType::String)]);
    let run = |text: &str| events(&schema, InputModel::default(), PayloadFormat::Csv, text);
    let chunk = run("a,b\n1,\"x\"\"y\"\n2,\"the rest is miss");
    assert_eq!((chunk.rows.len(), codes(&chunk)), (1, vec![(2, "truncated", None)]));
    assert_eq!(chunk.rows[0].values[1], Scalar::Text("x\"y".into()));
    for whole in ["a,b\n1,\"x\ny\"", "a,b\n1,5\" pipe", "a,b\n1,\"\"\n"] {
        assert_eq!(codes(&run(whole)), [], "{whole}");
    }
}

#[test]
fn an_object_of_very_many_members_is_refused_in_no_time() {
    let members: Vec<_> = (0..200_000).map(|index| format!("\"m{index}\":0")).collect();
    let wide = format!("{{{}}}", members.join(","));
    let line = format!("{wide}\n{{{},\"m7\":1}}\n{{\"v\":1}}", members[..40].join(","));
    let chunk = events(&one(DataType::Int64), InputModel::default(), PayloadFormat::Ndjson, &line);
    assert_eq!(codes(&chunk), [(1, "invalid_json", None), (2, "duplicate_key", Some("m7"))]);
    assert_eq!(chunk.rows.len(), 1);
}

#[test]
fn a_wrong_model_names_every_place() {
    let schema = Schema {
        fields: vec![
            Field::new("id", DataType::Int64).as_key(),
            Field { unit: Some("Cel".into()), ..Field::new("t", DataType::Float64) },
            Field::new("s", DataType::String),
        ],
    };
    let model = InputModel {
        mode: Some(WriteMode::Append),
        fields: vec![
            InputField { date_format: Some("%Q".into()), ..InputField::plain("s") },
            InputField::plain("nope"),
            InputField {
                unit: Some(UnitConversion { from: Some("mph".into()), to: "Cel".into() }),
                default: Some(json!("warm")),
                ..InputField::plain("t")
            },
            InputField::plain("s"),
        ],
        ..InputModel::default()
    };
    let errors = check(ElementKind::Entity, &schema, &model);
    let places: Vec<_> = errors.iter().map(|e| (e.pointer.as_str(), e.code.as_str())).collect();
    assert_eq!(
        places,
        [
            ("/mode", "wrong_mode"),
            ("/fields/0/date_format", "unexpected"),
            ("/fields/1/name", "unknown_field"),
            ("/fields/2/unit/from", "invalid_unit"),
            ("/fields/2/default", "wrong_type"),
            ("/fields/3/name", "duplicate_name"),
            ("/fields", "required"),
        ]
    );
    assert!(check(ElementKind::Events, &schema, &InputModel::default()).is_empty());
}

fn inferred(format: PayloadFormat, sample: &str, keys: &[&str]) -> headgate_types::engine::InferredSchema {
    let keys = keys.iter().map(|key| (*key).to_owned()).collect();
    infer(&InferSchema { sample: sample.to_owned(), format, keys }).unwrap()
}

#[test]
fn inference_reads_the_whole_sample_and_reports_markers() {
    let mut csv = String::from("origin,zip,temp,gust,n,time_hour,day,empty,Wind Speed\n");
    for index in 0..20 {
        let gust = if index < 14 { "NA".to_owned() } else { format!("{index}.5") };
        csv.push_str(&format!("NA{index},0123{index},39.02,{gust},{index},2013-01-01T06:00:00Z,2013-01-01,,-1e3\n"));
    }
    let found = inferred(PayloadFormat::Csv, &csv, &["origin", "time_hour"]);
    assert_eq!(found.records, 20);
    let types: Vec<_> = found.schema.fields.iter().map(|f| (f.name.as_str(), f.data_type, f.key)).collect();
    assert_eq!(
        types,
        [
            ("origin", DataType::String, true),
            ("zip", DataType::String, false),
            ("temp", DataType::Float64, false),
            ("gust", DataType::Float64, false),
            ("n", DataType::Int64, false),
            ("time_hour", DataType::Timestamp, true),
            ("day", DataType::Date, false),
            ("empty", DataType::String, false),
            ("Wind_Speed", DataType::Float64, false),
        ]
    );
    assert_eq!(found.input_model.fields[3].null_markers, ["NA"]);
    assert_eq!(found.input_model.fields[8].from.as_deref(), Some("Wind Speed"));
    let plan = InputPlan::compile(ElementKind::Entity, &found.schema, &found.input_model).unwrap();
    let chunk = all(plan, PayloadFormat::Csv, None, csv.as_bytes(), u64::MAX);
    assert_eq!((chunk.rows.len(), chunk.refused.len()), (20, 0));
}

#[test]
fn inference_of_json_keeps_quoted_numbers_as_text() {
    let sample = r#"{"id":1,"price":2,"code":"007","at":"2020-01-01T00:00:00Z","x":{"a":1},"mixed":1,"_op":"delete"}
{"id":2,"price":2.5,"code":"8","at":null,"x":[],"mixed":"NA","ok":true}"#;
    let found = inferred(PayloadFormat::Ndjson, sample, &["id"]);
    let types: Vec<_> = found.schema.fields.iter().map(|f| (f.name.as_str(), f.data_type)).collect();
    assert_eq!(
        types,
        [
            ("id", DataType::Int64),
            ("price", DataType::Float64),
            ("code", DataType::String),
            ("at", DataType::Timestamp),
            ("x", DataType::Json),
            ("mixed", DataType::Int64),
            ("ok", DataType::Bool),
        ]
    );
    let plan = InputPlan::compile(ElementKind::Entity, &found.schema, &found.input_model).unwrap();
    let chunk = all(plan, PayloadFormat::Ndjson, None, sample.as_bytes(), u64::MAX);
    assert_eq!((chunk.rows.len(), chunk.refused.len()), (2, 0));
    for (sample, keys) in [("", vec![]), ("{\"a\":1}", vec!["b".to_owned()]), ("{\"a\":", vec![]), ("[1]", vec![])] {
        let request = InferSchema { sample: sample.to_owned(), format: PayloadFormat::Json, keys };
        assert!(matches!(infer(&request), Err(crate::EngineFault::Refused { .. })), "{sample}");
    }
}

fn scalars() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        any::<i64>().prop_map(Scalar::Int),
        (-1e300..1e300_f64).prop_map(Scalar::Float),
        ".{0,40}".prop_map(|text| Scalar::Text(text.into())),
        any::<i64>().prop_map(Scalar::Micros),
        any::<i32>().prop_map(Scalar::Days),
    ]
}

proptest! {
    #[test]
    fn rows_survive_their_bytes(values in proptest::collection::vec(scalars(), 0..8)) {
        prop_assert_eq!(decode_row(&encode_row(&values)), Some(values));
    }

    #[test]
    fn no_bytes_make_it_panic_and_every_record_is_decided_once(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in [PayloadFormat::Json, PayloadFormat::Ndjson, PayloadFormat::Csv] {
            let plan = InputPlan::compile(ElementKind::Events, &one(DataType::Json), &InputModel::default()).unwrap();
            let chunk = all(plan, format, None, &bytes, u64::MAX);
            let whole = chunk.refused.iter().filter(|refused| refused.ordinal == 0).count() as u64;
            prop_assert_eq!((chunk.rows.len() + chunk.refused.len()) as u64, chunk.last + whole);
        }
    }

    #[test]
    fn json_numbers_are_read_exactly(value in any::<f64>().prop_filter("finite", |v| v.is_finite())) {
        let text = format!("{{\"v\":{}}}", serde_json::to_string(&value).unwrap());
        let chunk = events(&one(DataType::Float64), InputModel::default(), PayloadFormat::Json, &text);
        prop_assert_eq!(&chunk.rows[0].values[0], &Scalar::Float(if value == 0.0 { 0.0 } else { value }));
    }
}

/// Lines that mostly have the members of the line before, and mostly what is wanted of them.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let usual = prop_oneof![Just("1"), Just("-2.5"), Just("\"text\""), Just("\"longer than eight\""), Just("true")];
    let value = prop_oneof![
        6 => usual,
        2 => prop_oneof![
            Just("null"), Just("\"\\u00e9\\n\""), Just("\"NA\""), Just("\"1,5\""), Just("{\"b\":[1,{}]}"), Just("[]"),
            Just("1e400"), Just("{\"b\":1,\"b\":2}"), Just("\"2024-05-01\""), Just("\"a\u{1}b\""), Just("\"q"), Just("01"),
        ],
    ];
    let order = prop_oneof![
        8 => Just(vec!["a", "b", "c"]),
        1 => prop::collection::vec(prop_oneof![Just("a"), Just("b"), Just("c"), Just("\\u0061"), Just("a.b"), Just("x")], 0..5),
    ];
    let space = prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t ")];
    let end = prop_oneof![12 => Just("}"), 1 => Just("},"), 1 => Just(""), 1 => Just("} x")];
    let line = (order, prop::collection::vec(value, 5), space, end).prop_map(|(order, values, space, end)| {
        let members: Vec<_> =
            order.iter().zip(values).map(|(name, value)| format!("{space}\"{name}\"{space}:{space}{value}")).collect();
        format!("{{{}{end}", members.join(&format!("{space},")))
    });
    prop::collection::vec(line, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn a_record_is_decided_alike_whatever_came_before_it(lines in lines(), which in 0_usize..4) {
        let types = [("a", DataType::Float64), ("b", DataType::String), ("c", DataType::Json)];
        let schema = schema(&types);
        let models = [
            "{}",
            r#"{"unknown_fields":"reject","null_markers":["NA"],"fields":[{"name":"a","cast":true,"default":7.5}]}"#,
            r#"{"fields":[{"name":"a","from":"a.b"},{"name":"b","from":"c","cast":true},{"name":"c"}]}"#,
            r#"{"fields":[{"name":"a","cast":true,"decimal_separator":","},{"name":"b","from":"a","cast":true},{"name":"c","from":"a"}]}"#,
        ];
        let model: InputModel = serde_json::from_str(models[which]).unwrap();
        let mut required = schema.clone();
        required.fields[1].required = which == 0;
        let together = events(&required, model.clone(), PayloadFormat::Ndjson, &lines.join("\n"));
        prop_assert_eq!(together.last, lines.len() as u64);
        for (index, line) in lines.iter().enumerate() {
            let alone = events(&required, model.clone(), PayloadFormat::Ndjson, line);
            let ordinal = index as u64 + 1;
            let values = |chunk: &Chunk, at| {
                chunk.rows.iter().find(|row| row.ordinal == at).map(|row| (row.operation, row.values.clone(), row.bytes))
            };
            let refusal = |chunk: &Chunk, at| {
                chunk.refused.iter().find(|it| it.ordinal == at).map(|it| (it.refusal.clone(), it.raw.clone()))
            };
            prop_assert_eq!(values(&together, ordinal), values(&alone, 1), "{}", line);
            prop_assert_eq!(refusal(&together, ordinal), refusal(&alone, 1), "{}", line);
        }
    }
}
