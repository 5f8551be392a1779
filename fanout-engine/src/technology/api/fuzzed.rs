//! Lists that are asked for in every form but the right one.

use headgate_access::Seal;
use headgate_types::schema::ElementKind;
use serde_json::json;

use super::query::{self, Parameters, Query};
use super::table::Table;
use crate::fuzz;
use crate::shape::testing::sensors;
use crate::technology::OutputElement;

fn table(kind: ElementKind) -> Table {
    let element = sensors(kind);
    let plan = element.compile(&element.scope()).unwrap();
    let output = OutputElement {
        element: element.id,
        name: "sensors".into(),
        kind,
        schema: plan.output_schema().clone(),
        model_version: 1,
        options: serde_json::from_value(json!({})).unwrap(),
    };
    Table::new(&output).unwrap()
}

#[test]
fn what_is_understood_of_a_list_is_a_statement_that_sqlite_takes() {
    let seal = Seal::new(&[3; 32]);
    for kind in [ElementKind::Events, ElementKind::Entity] {
        let table = table(kind);
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.execute_batch(&table.create()).unwrap();
        let runs = |parameters: Parameters| {
            let query = Query::new(&table, &seal, &parameters).map_err(|error| (error.pointer, error.code))?;
            for (sql, values) in [query.select(&table), query.total(&table)] {
                let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{error}: {sql}"));
                let mut rows = statement.query(rusqlite::params_from_iter(values)).unwrap();
                let _ = rows.next().unwrap();
            }
            Ok::<_, (String, String)>(query.sort_columns())
        };
        let given = |text: &str| Some(text.to_owned());
        let filters =
            ["temp_f > 1.5 AND site = \"a\" OR NOT (ok = true AND extra:x)", "at >= 2024-01-01 AND day = null"];
        fuzz::text("fanout-engine/src/technology/api/filter.rs condition", &filters, |text| {
            runs(Parameters { filter: given(text), ..Parameters::default() })
        });
        fuzz::text("fanout-engine/src/technology/api/query.rs order", &["site desc, temp_f asc,id"], |text| {
            runs(Parameters { order_by: given(text), ..Parameters::default() })
        });
        fuzz::text("fanout-engine/src/technology/api/query.rs fields", &["site,temp_f,_id"], |text| {
            runs(Parameters { fields: given(text), ..Parameters::default() })
        });
        let query = Query::new(&table, &seal, &Parameters::default()).unwrap();
        let place = vec![rusqlite::types::Value::Integer(7); query.sort_columns()];
        let token = query.token(&seal, &place).unwrap();
        fuzz::text("fanout-engine/src/technology/api/query.rs open", &[&token], |text| {
            let read = runs(Parameters { page_token: given(text), ..Parameters::default() });
            assert!(read.is_err() || text == token, "a token that nobody made opens: {text}");
            read
        });
        fuzz::text(
            "fanout-engine/src/technology/api/query.rs key",
            &["00000000000000000000000000000000", "7"],
            |text| query::key(&table, text).is_ok(),
        );
    }
}

#[test]
fn a_value_in_a_path_or_filter_is_read_or_refused() {
    let table = table(ElementKind::Entity);
    for column in &table.columns {
        let seeds = ["true", "-7", "1.5e3", "2024-05-01T10:00:00.000001Z", "2024-02-29", "x", "+262142-12-31"];
        fuzz::text("fanout-engine/src/technology/api/cells.rs parse", &seeds, |text| {
            super::cells::parse(column, text).map_err(|_| ())
        });
    }
}
