//! Payloads and models in every form but the right one.

use std::io::{Cursor, Write};
use std::sync::Arc;

use headgate_types::engine::InferSchema;
use headgate_types::model::{InputModel, PayloadFormat};
use headgate_types::schema::{DataType, ElementKind, Field, Schema};

use super::json::Parser;
use super::repeated::Layout;
use super::*;
use crate::fuzz;

/// A field of each type, one of them a key.
fn schema() -> Schema {
    let types = [
        ("b", DataType::Bool),
        ("n", DataType::Int64),
        ("f", DataType::Float64),
        ("s", DataType::String),
        ("t", DataType::Timestamp),
        ("d", DataType::Date),
        ("j", DataType::Json),
    ];
    let mut fields: Vec<_> = types.iter().map(|(name, data_type)| Field::new(*name, *data_type)).collect();
    fields[1] = fields[1].clone().as_key();
    Schema { fields }
}

/// Models that convert everything, and one that converts nothing.
fn models() -> Vec<InputModel> {
    let every = r#"{"null_markers":["NA"],"fields":[
        {"name":"n","cast":true,"trim":true},
        {"name":"f","cast":true,"decimal_separator":",","unit":{"from":"[degF]","to":"Cel"}},
        {"name":"t","date_format":"%d.%m.%Y %H:%M"},{"name":"d","date_format":"%m/%d/%Y"},
        {"name":"b","from":"s","cast":true,"default":false}]}"#;
    vec![InputModel::default(), serde_json::from_str(every).unwrap()]
}

/// Reads all of a payload in chunks of a few records, and then again behind the first of them.
fn conformed(plan: &Arc<InputPlan>, format: PayloadFormat, encoding: Option<&str>, bytes: &[u8]) -> Vec<&'static str> {
    let bytes = bytes.to_vec();
    let source = Source {
        format,
        encoding: encoding.map(str::to_owned),
        limit: 1 << 20,
        open: Box::new(move || Ok(Box::new(Cursor::new(bytes.clone())))),
    };
    let read = |skip: u64, records: usize| {
        let mut conformer = Conformer::open(Arc::clone(plan), &source, skip).unwrap();
        let (mut rows, mut refused, mut last) = (Vec::new(), Vec::new(), skip);
        loop {
            let chunk = conformer.next_chunk(records, u64::MAX).unwrap();
            rows.extend(chunk.rows);
            refused.extend(chunk.refused);
            last = last.max(chunk.last);
            if chunk.finished {
                return (rows, refused, last);
            }
        }
    };
    let (rows, refused, last) = read(0, 3);
    let whole = refused.iter().filter(|refused| refused.ordinal == 0).count() as u64;
    assert_eq!((rows.len() + refused.len()) as u64, last + whole, "every record is decided once");
    if last == 0 {
        return refused.iter().map(|refused| refused.refusal.code).collect();
    }
    // Taken up again behind the first record, the rest is decided as before.
    let (rest, rest_refused, _) = read(1, usize::MAX);
    assert_eq!(rest, rows.into_iter().filter(|row| row.ordinal > 1).collect::<Vec<_>>());
    let after = refused.iter().filter(|refused| refused.ordinal != 1);
    assert_eq!(rest_refused.iter().collect::<Vec<_>>(), after.collect::<Vec<_>>());
    refused.iter().map(|refused| refused.refusal.code).take(4).collect()
}

const LINES: &str = r#"{"b":true,"n":1,"f":1.5,"s":"x","t":"2024-05-01T10:00:00Z","d":"2024-05-01","j":{"a":[1]}}
{"n":"2","f":"1,5","s":null,"t":"01.05.2024 10:00","d":"05/01/2024"}
"#;
const CSV: &str = "b,n,f,s,t,d,j\ntrue,1,1.5,\"a \"\"b\"\"\",2024-05-01T10:00:00Z,2024-05-01,[1]\n,NA,,x\n";

#[test]
fn whatever_a_payload_holds_each_record_of_it_is_decided_once() {
    for (kind, model) in [ElementKind::Events, ElementKind::Entity].into_iter().zip(models()) {
        let plan = Arc::new(InputPlan::compile(kind, &schema(), &model).unwrap());
        let array = format!("[{}]", LINES.trim().replace('\n', ","));
        let seeds: [(&str, PayloadFormat, &str); 3] = [
            ("fanout-engine/src/conform/json.rs, lines", PayloadFormat::Ndjson, LINES),
            ("fanout-engine/src/conform/json.rs, an array", PayloadFormat::Json, &array),
            ("fanout-engine/src/conform/csv.rs", PayloadFormat::Csv, CSV),
        ];
        for (target, format, seed) in seeds {
            fuzz::bytes(target, &[seed.as_bytes(), b""], |bytes| conformed(&plan, format, None, bytes));
        }
    }
}

#[test]
fn a_line_is_decided_alike_whatever_came_before_it() {
    let cases = models().into_iter().zip(LINES.lines()).flat_map(|(model, usual)| {
        [ElementKind::Entity, ElementKind::Events]
            .map(|kind| (Arc::new(InputPlan::compile(kind, &schema(), &model).unwrap()), usual))
    });
    for (plan, usual) in cases {
        let record = Parser::new(usual, 0).value().unwrap();
        let layout = Layout::of(&plan, &record).unwrap();
        assert_eq!(layout.read(&plan, usual), Some(plan.json(&record).unwrap().1), "the short way leads there");
        let deletes = usual.replacen('{', r#"{"_op":"delete","#, 1);
        let mut seeds = vec![usual.to_owned(), deletes];
        // What a number may be, at the ends of what is read the short way.
        for number in
            ["-0", "01", "-", "1e3", "1.5", "999999999999999999", "-9223372036854775808", "9223372036854775808"]
        {
            seeds.push(usual.replace(":1,", &format!(" : {number} ,")).replace(":1.5", &format!(":{number}")));
        }
        let seeds: Vec<&[u8]> = seeds.iter().map(String::as_bytes).collect();
        fuzz::bytes("fanout-engine/src/conform/repeated.rs read", &seeds, |bytes| {
            let line: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'\n').collect();
            let read = |bytes: Vec<u8>| {
                let open = move || -> std::io::Result<Box<dyn std::io::Read + Send>> {
                    Ok(Box::new(Cursor::new(bytes.clone())))
                };
                let source =
                    Source { format: PayloadFormat::Ndjson, encoding: None, limit: 1 << 20, open: Box::new(open) };
                Conformer::open(Arc::clone(&plan), &source, 0).unwrap().next_chunk(usize::MAX, u64::MAX).unwrap()
            };
            // A mark of the byte order begins the first line only.
            let alone = read([b"\n", &line[..]].concat());
            if alone.last == 0 {
                return Vec::new();
            }
            let after = read([usual.as_bytes(), b"\n", &line].concat());
            let values = |chunk: &Chunk, last: u64| {
                let rows = chunk.rows.iter().filter(|row| row.ordinal == last);
                rows.map(|row| (row.operation, row.values.clone())).collect::<Vec<_>>()
            };
            let codes = |chunk: &Chunk, last: u64| {
                chunk.refused.iter().filter(|it| it.ordinal == last).map(|it| it.refusal.code).collect::<Vec<_>>()
            };
            assert_eq!(after.last, alone.last + 1);
            assert_eq!(values(&after, after.last), values(&alone, alone.last));
            assert_eq!(codes(&after, after.last), codes(&alone, alone.last));
            codes(&alone, alone.last)
        });
    }
}

#[test]
fn a_packed_payload_is_unpacked_within_its_limit_or_refused() {
    let plan = Arc::new(InputPlan::compile(ElementKind::Events, &schema(), &models()[1]).unwrap());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(LINES.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zeros = zstd::encode_all(&vec![b' '; 2 << 20][..], 1).unwrap();
    let zstd = zstd::encode_all(LINES.as_bytes(), 1).unwrap();
    for (encoding, seeds) in [("gzip", [&gzip[..], &b""[..]]), ("zstd", [&zstd[..], &zeros[..]])] {
        let target = format!("fanout-engine/src/conform/body.rs decoder, {encoding}");
        fuzz::bytes(&target, &seeds, |bytes| conformed(&plan, PayloadFormat::Ndjson, Some(encoding), bytes));
    }
}

#[test]
fn a_model_without_errors_compiles_and_one_with_errors_does_not() {
    let models: Vec<String> = models().iter().map(|model| serde_json::to_string(model).unwrap()).collect();
    let seeds: Vec<&str> = models.iter().map(String::as_str).collect();
    fuzz::text("fanout-engine/src/conform/model.rs check", &seeds, |text| {
        let Ok(model) = serde_json::from_str::<InputModel>(text) else { return Vec::new() };
        let errors = model::check(ElementKind::Entity, &schema(), &model);
        assert_eq!(errors.is_empty(), InputPlan::compile(ElementKind::Entity, &schema(), &model).is_ok(), "{errors:?}");
        errors.into_iter().map(|error| error.code).collect()
    });
}

#[test]
fn a_schema_is_inferred_that_holds_a_model_for_it() {
    for (format, seed) in
        [(PayloadFormat::Csv, CSV), (PayloadFormat::Ndjson, LINES), (PayloadFormat::Json, "[{\"a\":1}]")]
    {
        fuzz::text(&format!("fanout-engine/src/conform/infer.rs infer, {format:?}"), &[seed], |text| {
            let request = InferSchema { sample: text.to_owned(), format, keys: Vec::new() };
            let inferred = infer(&request).map_err(|error| error.to_string())?;
            let errors = model::check(ElementKind::Events, &inferred.schema, &inferred.input_model);
            assert!(errors.is_empty(), "{errors:?}");
            Ok::<_, String>(inferred.schema.fields.iter().map(|field| field.data_type).collect::<Vec<_>>())
        });
    }
}

#[test]
fn a_row_is_read_as_it_is_written_or_not_at_all() {
    let values = [Scalar::Null, Scalar::Bool(true), Scalar::Int(-1), Scalar::Text("é".into()), Scalar::Days(7)];
    fuzz::bytes("fanout-engine/src/conform/scalar.rs decode_row", &[&encode_row(&values)], |bytes| {
        let read = decode_row(bytes)?;
        assert_eq!(encode_row(&read), bytes);
        Some(read.len())
    });
}
