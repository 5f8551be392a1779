//! What the log reads from its own file, damaged in every way.

use headgate_types::schema::ElementKind;

use super::{body, directory, side};
use crate::fixtures::{changes, events, layout};
use crate::fuzz;

#[test]
fn a_damaged_commit_is_an_error_and_never_other_records() {
    let entity = layout(ElementKind::Entity);
    let change = [("insert", 1, "a", None), ("update", 1, "b", Some("a")), ("delete", 1, "", Some("b"))];
    let batches = [changes(&entity, &change), changes(&entity, &change[..1])];
    for batch in &batches {
        let encoded = body::encode(batch).unwrap();
        fuzz::bytes("crates/lake/src/log/body.rs decode", &[&encoded, b""], |bytes| {
            let decoded = body::decode(bytes, &entity.log_schema());
            if let Ok(decoded) = &decoded {
                assert_eq!(decoded, batch, "what reads well is what was written");
            }
            decoded.map(|batch| batch.num_rows()).map_err(|error| error.to_string())
        });
    }
    let plain = layout(ElementKind::Events);
    let encoded = body::encode(&events(&plain, 1..500)).unwrap();
    // Under the schema of another element it is damaged as well.
    fuzz::bytes("crates/lake/src/log/body.rs decode, another schema", &[&encoded], |bytes| {
        body::decode(bytes, &entity.log_schema()).map(|batch| batch.num_rows()).map_err(|error| error.to_string())
    });
}

#[test]
fn damaged_side_items_are_an_error_and_never_others() {
    let items = vec![br#"{"kind":"payload"}"#.to_vec(), Vec::new(), vec![7; 300]];
    let encoded = side::encode(&items).unwrap().unwrap();
    fuzz::bytes("crates/lake/src/log/side.rs decode", &[&encoded], |bytes| {
        let decoded = side::decode(bytes);
        if let Ok(decoded) = &decoded {
            // Frames may follow one another, and an empty one adds nothing.
            assert!(decoded.is_empty() || decoded.chunks(3).all(|part| part == items), "{decoded:?}");
        }
        decoded.map(|items| items.len()).map_err(|error| error.to_string())
    });
}

#[test]
fn a_directory_row_is_read_as_it_is_written_or_refused() {
    let place = directory::Place { topic: 1, sequence: 2, first: 3, count: 4, epoch: 5, schema: 6, bytes: 7 };
    let encoded = directory::encode(&[place, place]);
    fuzz::bytes("crates/lake/src/log/directory.rs decode", &[&encoded, b"\x01"], |bytes| {
        let decoded = directory::decode(bytes);
        if let Ok(places) = &decoded {
            assert_eq!(directory::encode(places), bytes);
        }
        decoded.map(|places| places.len()).map_err(|error| error.to_string())
    });
}
